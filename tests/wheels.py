"""The package as it is given out: built here, and installed beside what the tests run with."""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[1]


def built_wheel(folder: Path) -> Path:
    """The wheel of this tree, built in `folder` from a copy: building leaves files beside its sources."""
    source = folder / "source"
    kept = ("pyproject.toml", "LICENSE", *(str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*")))
    for name in kept:
        if (ROOT / name).is_file() and "egg-info" not in name and "__pycache__" not in name:
            copy = source / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([*build, str(folder), str(source)], check=True)
    (wheel,) = folder.glob("napo-*.whl")
    return wheel


def installed(folder: Path) -> Path:
    """The folder of programs of a new environment with the wheel; what napo needs is found where the tests have it."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, str(built_wheel(folder))], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    # behind the environment's own: napo comes from the wheel, and links to a clone are not followed from here
    (packages / "beside.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python.parent
