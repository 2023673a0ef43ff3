import hashlib

from dεps.core.hashing import digest, file_hash, md5, sha256
from tests.conftest import ROOT


def test_hashes_keep_their_values(tmp_path):
    """They stand in results, in dvc.lock and in MLflow stores: another value would make all of them strangers."""
    path = tmp_path / "x"
    path.write_bytes("ε".encode())
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest({"b": [1, 2.5, None], "a": "ε"}) == digest({"a": "ε", "b": [1, 2.5, None]}) == "772daf6c644e732d"
    assert file_hash(path) == sha256("ε".encode())[:16]
    assert md5(path) == hashlib.md5("ε".encode()).hexdigest()


def test_nothing_else_hashes():
    """But what has a hash of its own: random numbers, the program of the embedded images, folders as DVC has them."""
    own = {path.name for path in (ROOT / "dεps").rglob("*.py") if "hashlib" in path.read_text("utf-8")}
    own |= {path.name for path in (ROOT / "pipelines").glob("*.py") if "hashlib" in path.read_text("utf-8")}
    assert own == {"hashing.py", "locked.py", "randomness.py", "make.py"}
