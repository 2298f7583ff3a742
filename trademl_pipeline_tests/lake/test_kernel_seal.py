"""What a process that the kernel has sealed can still reach."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trademl_pipeline.lake import kernel_seal

pytestmark = pytest.mark.skipif(
    not kernel_seal.landlock_version(), reason="this kernel has no Landlock, which needs Linux 5.13"
)
TRY = """
import json, os, pathlib, runpy, socket, subprocess, sys
seal = runpy.run_path({seal!r})["seal_process"]
held = seal({kept!r})
tried = {{}}
def attempt(name, action):
    try:
        tried[name] = bool(action())
    except OSError as error:
        tried[name] = type(error).__name__
outside, kept = pathlib.Path({outside!r}), pathlib.Path({kept!r})
attempt("read", outside.read_bytes)
attempt("list", lambda: os.listdir(outside.parent))
attempt("write", lambda: outside.with_name("new").write_bytes(b"x"))
attempt("rename", lambda: outside.rename(kept / "taken"))
attempt("link", lambda: (os.symlink(outside, kept / "link"), (kept / "link").read_bytes()))
attempt("parent", lambda: pathlib.Path("/proc", str(os.getppid()), "root", *outside.parts[1:]).read_bytes())
attempt("environment of the parent", lambda: pathlib.Path("/proc", str(os.getppid()), "environ").read_bytes())
attempt("memory of the parent", lambda: open(f"/proc/{{os.getppid()}}/mem", "rb"))
attempt("shared memory", lambda: pathlib.Path("/dev/shm/trademl-test").write_bytes(b"x"))
attempt("program", lambda: subprocess.run(["cat", outside], capture_output=True).returncode == 0)
for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"):
    attempt(family, lambda: socket.socket(getattr(socket, family)))
attempt("own folder", lambda: (kept / "mine").write_bytes(b"x") and (kept / "mine").read_bytes())
attempt("pair", lambda: socket.socketpair())
attempt("code", lambda: __import__("polars").DataFrame({{"x": [1]}}).height)
print(json.dumps([held, tried]))
"""
OPEN = {"own folder", "pair", "code"}


def run(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-c", source], cwd=folder, capture_output=True, text=True, check=False
    )


def test_a_sealed_process_has_code_its_folder_and_nothing_else(tmp_path: Path):
    kept, outside = tmp_path / "kept", tmp_path / "lake" / "next_returns.parquet"
    kept.mkdir()
    outside.parent.mkdir()
    outside.write_bytes(b"what came later")
    done = run(TRY.format(seal=kernel_seal.__file__, kept=str(kept), outside=str(outside)), kept)
    assert done.returncode == 0, done.stderr
    held, tried = json.loads(done.stdout)
    assert held[0] == f"Landlock ABI {kernel_seal.landlock_version()}"
    assert {name for name, outcome in tried.items() if outcome is True} == OPEN, tried
    # A program that may not read says so itself.
    assert tried.pop("program") is False
    assert {outcome for name, outcome in tried.items() if name not in OPEN} == {"PermissionError"}, tried
    assert outside.read_bytes() == b"what came later"


def test_a_process_with_other_threads_is_not_sealed_in_part(tmp_path: Path):
    source = f"""
import runpy, threading
seal = runpy.run_path({kernel_seal.__file__!r})["seal_process"]
threading.Thread(target=threading.Event().wait, daemon=True).start()
seal({str(tmp_path)!r})
"""
    done = run(source, tmp_path)
    assert done.returncode == 1
    assert "other threads of this process run already" in done.stderr


# The folder above the package changes when it has been listed and before the seal is on, as by any other process.
CHANGED = """
import os, runpy, sys
import json
root, file = {root!r}, {seal!r}
def change(event, arguments):
    if event == "open" and arguments[0] == "/dev/urandom":
        os.utime(root, (1, 1))
sys.addaudithook(change)
sys.argv = [file, {kept!r}, "{package}.work"]
runpy.run_path(file, run_name="__main__")
"""


def test_code_is_found_though_the_folder_above_it_has_changed_before_the_seal(tmp_path: Path):
    kept, package = tmp_path / "kept", tmp_path / "code" / "some_package"
    kept.mkdir()
    (package / "lake").mkdir(parents=True)
    copy = shutil.copy(kernel_seal.__file__, package / "lake")
    (package / "__init__.py").write_text("")
    (package / "work.py").write_text("from some_package import lake\nprint(lake.__name__)")
    source = f"import sys; sys.path.insert(0, {str(package.parent)!r})\n" + CHANGED.format(
        root=str(package.parent), seal=copy, kept=str(kept), package=package.name
    )
    done = run(source, kept)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "some_package.lake"
