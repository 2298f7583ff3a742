"""Code that is a library's, and is not looked into."""

import functools
import os
import sys
import sysconfig
import types
from pathlib import Path
from typing import Any, cast

from trademl_pipeline.lake import sealed_files

_LIBRARY = tuple(
    {path for name in ("stdlib", "platstdlib", "purelib", "platlib") if (path := sysconfig.get_path(name))}
)
_PACKAGE = str(Path(__file__).resolve().parents[2]) + os.sep
# Of the modules that Python starts with.
_FROZEN = "<frozen "
_NAME = f"{__name__.partition('.')[0]}."
# Of the flags of a class: it was made while Python ran.
_HEAP_TYPE = 1 << 9
# Nothing can be put on it, which only a class written in C can have.
_IMMUTABLE = 1 << 8
_NESTED = ("polars", "functools")
# What stands before the readers of libraries while an extractor runs.
_WATCH = sealed_files.__file__


class Libraries:
    """The libraries beside an extractor: installed packages, but not the one that it is from itself.

    Attributes:
        package: file or folder of the latter.
    """

    def __init__(self, fn: Any) -> None:
        self.package = _own_package(fn)
        # Of one walk: each file and class is asked for many times.
        self._files: dict[str, bool] = {}
        self._classes: dict[type, bool] = {}

    def has_file(self, file: str | None) -> bool:
        """Return whether code is a library's; the pipeline's own is looked through like a user's."""
        if file is None:
            return False
        known = self._files.get(file)
        if known is None:
            known = self._files[file] = self._has_file(file)
        return known

    def _has_file(self, file: str) -> bool:
        if self.package is not None and file.startswith(self.package):
            return False
        return (
            file == _WATCH
            or file.startswith(_FROZEN)
            or (file.startswith(_LIBRARY) and not file.startswith(_PACKAGE))
        )

    def has_module(self, module: types.ModuleType) -> bool:
        """Return whether a module is a library's or Python's own."""
        built_in = module.__name__ in sys.builtin_module_names
        return built_in or self.has_file(vars(module).get("__file__"))

    def has_class(self, kind: type) -> bool:
        """Return whether a class is a library's or Python's own."""
        known = self._classes.get(kind)
        if known is None:
            known = self._classes[kind] = self._has_class(kind)
        return known

    def _has_class(self, kind: type) -> bool:
        if not kind.__flags__ & _HEAP_TYPE or kind.__flags__ & _IMMUTABLE:
            return True
        if kind.__module__ == "builtins":
            # A class that was made by `exec` says so too.
            return False
        name: Any = kind.__module__
        module = sys.modules.get(name) if isinstance(name, str) else None
        if module is None or not self.has_module(module):
            return False
        there: Any = module
        for part in kind.__qualname__.split("."):
            there = getattr(there, part, None)
        return there is kind or self._has_code_of(kind)

    def _has_code_of(self, kind: type) -> bool:
        """Return whether a class that its module does not have under its name is from there all the same."""
        space = vars(kind)
        files = {v.__code__.co_filename for v in space.values() if isinstance(v, types.FunctionType)}
        if files:
            return all(map(self.has_file, files))
        # Python gives the classes that are written in it one of these.
        return not any(name in space for name in ("__dict__", "__weakref__", "__slots__"))

    def has_code(self, value: Any) -> bool:
        """Return whether a function, a class, or the class of any other object is a library's."""
        kind = cast(type[Any], type(value))
        if kind is types.FunctionType:
            return self.has_file(value.__code__.co_filename)
        return self.has_class(value if issubclass(kind, type) else kind)

    def in_wrapper(self, fn: types.FunctionType) -> list[str]:
        """Return the attributes of a library's wrapper that may hold what is the extractor's, as `singledispatch` does.

        Args:
            fn: a function of a library.
        """
        if fn.__code__.co_filename != functools.__file__:
            return []
        return [n for n, value in vars(fn).items() if self.may_be_own(value) or not self.has_code(value)]

    def may_be_own(self, value: Any) -> bool:
        """Return whether an object that a library's wrapper is built around may be the extractor's."""
        if isinstance(value, types.FunctionType) and self.has_file(value.__code__.co_filename):
            # Polars has one wrapper around another, and so have the functions that `singledispatch` makes.
            return value.__closure__ is not None and (value.__module__ or "").split(".")[0] in _NESTED
        if isinstance(value, types.BuiltinFunctionType):
            # A method of an object, such as `table.get`, brings the object with it.
            return not isinstance(value.__self__, types.ModuleType | type | None)
        return not (isinstance(value, type) and self.has_class(value)) and not isinstance(
            value, types.ModuleType
        )


def of_package(fn: Any) -> bool:
    """Return whether a function is one of the pipeline's."""
    return isinstance(fn, types.FunctionType) and fn.__code__.co_filename.startswith(_PACKAGE)


def is_of_package(module: str) -> bool:
    """Return whether a module of this name is one of the pipeline's."""
    return module.startswith(_NAME)


def _own_package(fn: Any) -> str | None:
    """File or folder of the package that a callable is from, which is looked through even where it is installed."""
    inner: Any = fn
    while isinstance(inner, functools.partial | types.MethodType):
        inner = cast(Any, inner.func if isinstance(inner, functools.partial) else inner.__func__)
    name = getattr(inner, "__module__", None) or ""
    file = getattr(sys.modules.get(name.split(".")[0]), "__file__", None)
    if file is None:
        return None
    return os.path.dirname(file) + os.sep if os.path.basename(file) == "__init__.py" else file
