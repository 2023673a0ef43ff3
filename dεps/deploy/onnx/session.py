"""Models in ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnxruntime import InferenceSession, SessionOptions

from dεps.core.errors import UserError

onnxruntime.set_default_logger_severity(4)  # what it warns of comes again as the exception
#: no file of this project's models is larger
LARGEST_MODEL = 2**31


def open_session(
    model: Path | bytes, threads: int = 1, spinning: bool = True, name: Path | str = "the model"
) -> InferenceSession:
    """A model to be run by so many threads; 0: as many as there are cores.

    With `spinning` its threads wait for the next call on their cores, at the expense of other sessions.

    Raises `UserError` naming the file, or the `name` of what no file holds, where it is missing or none.
    """
    options = SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if isinstance(model, Path):
        name, model = model, read_content(model)
    try:
        return InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception as error:  # a damaged file can raise anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{name} is no readable ONNX model ({reason}); 'deps export' writes such files") from None


def read_content(path: Path) -> bytes:
    """All of a model's file. Raises `UserError` where it cannot be read, or is larger than any of this kind."""
    try:
        if not path.is_file() and path.exists():
            raise UserError(f"{path} is no file; 'deps export' writes such files")
        if path.stat().st_size > LARGEST_MODEL:
            raise UserError(f"{path} is larger than {LARGEST_MODEL // 2**30} GiB, no model of this kind")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); 'deps export' writes such files") from None
