"""A process from which the kernel takes every file but code and one folder, and every connection.

    python -P kernel_seal.py FOLDER MODULE [ARGUMENT ...]

seals the process, then runs MODULE. This file is run by its path and imports the standard library alone, so that the
seal is on before a library starts a thread or a line of the pipeline is read. Landlock refuses files and the tracing
of other processes, seccomp refuses sockets; neither can be taken off again.
"""

import ctypes
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import platform
import runpy
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

# What a sealed process is kept by, a file in its folder; it is there once the seal is on.
SEALED = "sealed.json"
_PACKAGE = Path(__file__).resolve().parents[1]
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER = 38, 22, 2
# Rights on files by the version of Landlock that brought them: 13 at first, then refer, truncate, ioctl.
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_ALL_RIGHTS = 16
_EXECUTE, _READ_FILE, _READ_FOLDER = 1 << 0, 1 << 2, 1 << 3
_READ = _EXECUTE | _READ_FILE | _READ_FOLDER
# Execute, write, read, truncate, ioctl: what a rule on a file rather than on a folder may name.
_OF_FILES = _EXECUTE | 1 << 1 | _READ_FILE | 1 << 14 | 1 << 15
_SCOPES, _NETWORK = 3, 3
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/sys")
# Of /proc what says how the machine is made, and this process; others have in memory what this one is kept from.
_OF_PROC = ("self", "cpuinfo", "meminfo", "stat", "loadavg", "version", "filesystems", "sys")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
# Architecture as seccomp names it, and the number of socket().
_ARCHITECTURES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_IO_URING_SETUP, _X32 = 425, 0x40000000
_LOAD, _EQUAL, _MIN, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | 13


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_uint16),
        ("yes", ctypes.c_uint8),
        ("no", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction))]


class KernelSealError(RuntimeError):
    """The kernel has the seal, and refuses to put it on."""


class _OnePackage(importlib.abc.MetaPathFinder):
    """Finds a package where it is known to lie."""

    def __init__(self, folder: Path) -> None:
        self._name, self._folder = folder.name, folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the package's spec, and None for any other name."""
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(
            fullname, self._folder / "__init__.py", submodule_search_locations=[str(self._folder)]
        )


def pin_package(folder: str | Path) -> None:
    """Have a package be found after the seal too, though the folder above it can no longer be listed.

    An import lists that folder anew whenever anything in it was made or removed, such as a file of another process.

    Args:
        folder: of the package.
    """
    sys.meta_path.insert(0, _OnePackage(Path(folder)))


def landlock_version() -> int:
    """Return the version of Landlock that this kernel has; 0 where it has none."""
    if sys.platform != "linux":
        return 0
    # An "E" here is no failure: kernels without it, or with it off, answer -1.
    return max(0, _kernel().syscall(_CREATE_RULESET, None, 0, _VERSION))


def seal_process(folder: str | Path, code: Iterable[str] = (), listed: Iterable[str] = ()) -> list[str]:
    """Leave this process code to read and one folder to read and write; returns what the kernel holds it by.

    Args:
        folder: that stays open.
        code: files and folders with code beside those of Python, of installed packages and of the pipeline.
        listed: folders of which the names of the files may be read, as an import does, but no file.

    Returns:
        "Landlock ABI n" and "seccomp", each where this machine has it.

    Raises:
        KernelSealError: a seal that this machine has cannot be put on, or other threads run already, which it would
            not hold.
    """
    version = landlock_version()
    if version and len(os.listdir("/proc/self/task")) > 1:
        raise KernelSealError(
            "other threads of this process run already, and a seal holds only what comes after it"
        )
    seals: list[str] = []
    if version:
        proc = [os.path.realpath(f"/proc/{name}") for name in _OF_PROC]
        _landlock(
            version,
            [*library_folders(), str(_PACKAGE), *code, *_SYSTEM, *proc],
            [str(folder), *_DEVICES],
            listed,
        )
        seals.append(f"Landlock ABI {version}")
    if sys.platform == "linux" and platform.machine() in _ARCHITECTURES:
        _refuse_sockets(*_ARCHITECTURES[platform.machine()])
        seals.append("seccomp")
    return seals


def library_folders() -> list[str]:
    """Return the folders with the code of Python and of installed packages."""
    paths = {sys.prefix, sys.base_prefix, *site.getsitepackages(), *sysconfig.get_paths().values()}
    return sorted(os.path.realpath(path) for path in paths if path)


def _kernel() -> ctypes.CDLL:
    kernel = ctypes.CDLL(None, use_errno=True)
    kernel.syscall.restype = ctypes.c_long
    return kernel


def _checked(result: int, doing: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise KernelSealError(f"{doing}: {os.strerror(number)}")
    return result


def _landlock(
    version: int, readable: Iterable[str], writable: Iterable[str], listed: Iterable[str] = ()
) -> None:
    kernel, rights = _kernel(), (1 << _RIGHTS.get(version, _ALL_RIGHTS)) - 1
    rules = _Ruleset(rights, _NETWORK if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    number = _checked(
        kernel.syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0), "making the rules of Landlock"
    )
    granting = [(readable, _READ), (writable, rights), (listed, _READ_FOLDER)]
    for path, allowed in [(path, right) for paths, right in granting for path in paths]:
        if not os.path.exists(path):
            continue
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        granted = allowed if os.path.isdir(path) else allowed & rights & _OF_FILES
        rule = _PathBeneath(granted, opened)
        added = kernel.syscall(_ADD_RULE, number, _PATH_BENEATH, ctypes.byref(rule), 0)
        _checked(added, f"leaving {path} to a sealed process")
        os.close(opened)
    _checked(kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "giving up privileges")
    _checked(kernel.syscall(_RESTRICT_SELF, number, 0), "putting on Landlock")
    os.close(number)


def _refuse_sockets(architecture: int, socket: int) -> None:
    """Refuse socket() and io_uring, which can make one; socketpair(), by which a loop wakes itself, stays."""
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, 5, architecture),
        (_LOAD, 0, 0, 0),
        (_MIN, 3, 0, _X32),
        (_EQUAL, 2, 0, socket),
        (_EQUAL, 1, 0, _IO_URING_SETUP),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    program, kernel = _Program(len(steps), instructions), _kernel()
    _checked(kernel.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0), "giving up privileges")
    _checked(kernel.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0), "putting on seccomp")


if __name__ == "__main__":
    folder, module = sys.argv[1:3]
    pin_package(_PACKAGE)
    Path(folder, SEALED).write_text(json.dumps(seal_process(folder)))
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
