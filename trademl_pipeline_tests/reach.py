"""What code gets to, read from its syntax trees alone: no module is imported."""

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


@cache
def sources(folder: str) -> tuple[tuple[str, ast.Module], ...]:
    """Every module below a folder of the repository, by its dotted name; not to be changed."""
    return tuple(
        (".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_text()))
        for path in sorted((ROOT / folder).rglob("*.py"))
        if (parts := path.relative_to(ROOT).with_suffix("").parts)
    )


def definitions(body: Iterable[ast.stmt]) -> Iterator[Definition]:
    """The functions and classes of a body, those under an `if`, `try` or `with` too."""
    for node in body:
        if isinstance(node, Definition):
            yield node
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from definitions(node.body)


@dataclass
class Module:
    """A module: what it defines, and what the names in it stand for.

    Attributes:
        name: dotted.
        tree: its syntax tree.
        own: top-level functions and classes by name.
        imported: local name -> dotted name, imports within functions included.
    """

    name: str
    tree: ast.Module
    own: dict[str, Definition] = field(init=False)
    imported: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.own = {node.name: node for node in definitions(self.tree.body)}
        self.imported = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom):
                self.imported |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
            elif isinstance(node, ast.Import):
                first = {a.name.split(".")[0]: a.name.split(".")[0] for a in node.names if not a.asname}
                self.imported |= first | {a.asname: a.name for a in node.names if a.asname}

    @property
    def is_program(self) -> bool:
        """Return whether `python -m` runs it."""
        guards = (node.test for node in self.tree.body if isinstance(node, ast.If))
        return any("__name__" in ast.unparse(test) for test in guards)

    def on_import(self) -> Iterator[ast.AST]:
        """Yield the code that runs as the module is imported. An import alone uses nothing: it may be a re-export."""
        todo: list[ast.AST] = list(self.tree.body)
        while todo:
            node = todo.pop()
            if isinstance(node, Definition):
                yield from node.decorator_list
            elif isinstance(node, ast.If | ast.Try | ast.With):
                todo += ast.iter_child_nodes(node)
            elif not isinstance(node, ast.Import | ast.ImportFrom):
                yield node


class Reach:
    """What a set of roots gets to.

    A top-level function or class is reached if reached code names it, whichever way it was imported, also as a
    string where the code imports the module that defines it (kernels are found by name). A method is reached if its
    class is and any reached code but its own reads an attribute of its name: types are not followed, so a method hides
    behind another class's of the same name.
    """

    def __init__(self, modules: dict[str, Module]) -> None:
        self.modules = modules
        self.reached: set[str] = set()
        self._readers: dict[str, set[str]] = {}  # attribute -> the functions and methods that read it
        self._names = {name for module in modules.values() for name in module.own}
        self._todo: list[str] = []

    def add(self, roots: Iterable[str]) -> None:
        """Reach modules, functions and classes, and all that they name."""
        self._todo += roots
        while self._todo:
            self._visit(self._resolve(self._todo.pop()))

    def unreached(self, hooks: Iterable[str] = ()) -> set[str]:
        """Return public functions, classes and methods that nothing got to; `hooks` are methods that libraries call."""
        left = set()
        for module in self.modules.values():
            for name, node in module.own.items():
                dotted = f"{module.name}.{name}"
                if name.startswith("_"):
                    continue
                if dotted not in self.reached:
                    left.add(dotted)
                elif isinstance(node, ast.ClassDef):
                    methods = (n.name for n in definitions(node.body) if isinstance(n, Function))
                    named = {f"{dotted}.{m}" for m in methods if not m.startswith("_") and m not in hooks}
                    left |= {m for m in named if not self._readers.get(m.rpartition(".")[2], set()) - {m}}
        return left

    def _resolve(self, dotted: str) -> str:
        """Follow a name through the re-exports of packages to where it is defined."""
        for _ in range(len(self.modules)):
            holder, _, name = dotted.rpartition(".")
            module = self.modules.get(holder)
            if dotted in self.modules or module is None or name in module.own or name not in module.imported:
                break
            dotted = module.imported[name]
        return dotted

    def _visit(self, dotted: str) -> None:
        holder, _, name = dotted.rpartition(".")
        if dotted in self.reached:
            return
        if dotted in self.modules:
            self.reached.add(dotted)
            module = self.modules[dotted]
            for node in module.on_import():
                self._read(module, node, dotted)
        elif holder in self.modules:
            self._todo.append(holder)
            node = self.modules[holder].own.get(name)
            if node is not None:
                self.reached.add(dotted)
                self._read(self.modules[holder], node, dotted)

    def _read(self, module: Module, top: ast.AST, reader: str) -> None:
        for node, method in _with_method(top):
            if isinstance(node, ast.Name):
                self._use(module, node.id)
            elif isinstance(node, ast.Attribute):
                self._readers.setdefault(node.attr, set()).add(f"{reader}.{method}" if method else reader)
                first, rest = _first_and_rest(node)
                if first in module.imported:
                    self._todo.append(f"{module.imported[first]}.{rest}")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                self._by_name(module, node.value, reader)

    def _use(self, module: Module, name: str) -> None:
        if name in module.own:
            self._todo.append(f"{module.name}.{name}")
        elif name in module.imported:
            self._todo.append(module.imported[name])

    def _by_name(self, module: Module, name: str, reader: str) -> None:
        self._readers.setdefault(name, set()).add(reader)
        if name in self._names:
            imported = {self._resolve(dotted) for dotted in module.imported.values()}
            self._todo += (
                f"{m}.{name}" for m in imported if m in self.modules and name in self.modules[m].own
            )


def _first_and_rest(node: ast.Attribute) -> tuple[str, str]:
    """The name and the attributes of `name.a.b`; ("", "") of anything else."""
    names = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
    return (value.id, ".".join(reversed(names))) if isinstance(value, ast.Name) else ("", "")


def _with_method(top: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """All nodes below one, each with the name of the method of a class that it is part of, or ""."""
    if not isinstance(top, ast.ClassDef):
        yield from ((node, "") for node in ast.walk(top))
        return
    for child in ast.iter_child_nodes(top):
        method = child.name if isinstance(child, Function) else ""
        yield from ((node, method) for node in ast.walk(child))
