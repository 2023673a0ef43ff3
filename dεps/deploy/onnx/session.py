"""Opens models in ONNX Runtime, on the CPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
from onnxruntime import InferenceSession

from dεps.core.errors import UserError, reason

onnxruntime.set_default_logger_severity(4)  # what it would log comes as an exception too
#: bytes of a file; no model of this project is larger
LARGEST_MODEL = 2**31


def open_session(
    model: Path | bytes, threads: int = 1, spinning: bool = True, name: Path | str = "the model"
) -> InferenceSession:
    """Session of a model, run by so many threads, which with `spinning` occupy their cores between two calls.

    Raises `UserError` naming the file, or `name` for a model in memory, where it is missing or no model.
    """
    options = onnxruntime.SessionOptions()  # pyright: ignore[reportAttributeAccessIssue] - compiled, without stubs
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    if isinstance(model, Path):
        name, model = model, read_content(model)
    try:
        return InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception as error:
        raise unreadable(name, error) from None


def unreadable(name: Path | str, error: Exception) -> UserError:
    """The refusal of a damaged file, which can raise anything."""
    return UserError(f"{name} is no readable ONNX model ({reason(error)}); 'deps export' writes such files")


def read_content(path: Path) -> bytes:
    """All bytes of a model's file. Raises `UserError` where it cannot be read, or is larger than any model here."""
    try:
        if not path.is_file() and path.exists():
            raise UserError(f"{path} is no file; 'deps export' writes such files")
        if path.stat().st_size > LARGEST_MODEL:
            raise UserError(f"{path} is larger than {LARGEST_MODEL // 2**30} GiB, no model of this kind")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); 'deps export' writes such files") from None
