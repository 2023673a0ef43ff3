"""The one exception that users are meant to see."""


class UserError(Exception):
    """Something the user can mend: the message is one line naming the key or file and what is allowed."""
