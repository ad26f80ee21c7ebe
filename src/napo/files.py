"""Files and folders that are there whole or not at all: written aside, then renamed."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napo.errors import UserError


@contextmanager
def write_aside(target: Path) -> Iterator[Path]:
    """A path beside `target` to write a file to; it takes the target's name when the block ends without error.

    Raises UserError where the disk is full or the folder can't be written; nothing half-written stays.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise cannot_write(target, error) from error
    aside = Path(name)
    try:
        yield aside
        # mkstemp makes private files; what we write is as readable as any other file of the user
        aside.chmod(0o666 & ~_umask())
        aside.replace(target)
    except Exception as error:
        if not is_write_error(error):
            raise
        raise cannot_write(target, error) from error
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def folder_aside(target: Path) -> Iterator[Path]:
    """A folder beside `target` to fill; it takes the target's name, and the place of what was there, at the end."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise cannot_write(target, error) from error
    try:
        yield aside
        aside.chmod(0o777 & ~_umask())
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
            target.replace(old / "was")
            aside.replace(target)
            shutil.rmtree(old)
        else:
            aside.replace(target)
    except Exception as error:
        if not is_write_error(error):
            raise
        raise cannot_write(target, error) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def is_write_error(error: Exception) -> bool:
    """Whether this says that a file could not be written: safetensors, torch and polars do so in ways of their own."""
    # by name, so that nobody has to import safetensors for this
    if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
        return True
    if type(error).__name__ == "ComputeError":
        return "underlying IO error" in str(error)
    return isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in ("PytorchStreamWriter", "inline_container")
    )


class WriteFailed(UserError):
    """A file could not be written: the disk's fault, whatever was to be written."""


def cannot_write(target: Path, error: Exception) -> WriteFailed:
    """The message for a full disk, a read-only folder and their like."""
    if isinstance(error, OSError) and error.errno in (errno.EISDIR, errno.EBUSY):
        return WriteFailed(f"cannot write {target}: it is a folder", remedy="name a file in it")
    if (file := next((path for path in target.parents if path.is_file()), None)) is not None:
        return WriteFailed(f"cannot write {target}: {file} is a file, not a folder", remedy="name another folder")
    reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return WriteFailed(
        f"cannot write {target}: {reason}", remedy="free some space or name another folder; nothing was left"
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
