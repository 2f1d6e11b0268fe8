"""Print the house as a table: files, lines, inner floors and public names of each room.

    python tests/house_table.py [--source src]

It reads the source and imports none of it, so that it can be run on any tree. The inner floors of a room are the
modules on its longest chain of imports; a package's ``__init__`` lists names, and counts where its own room reads them.
"""

from __future__ import annotations

import argparse
import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PACKAGE = "heed"


@dataclass(frozen=True)
class Import:
    """One import: the module, the name that is taken from it (None: the module itself), and when it happens."""

    module: str
    name: str | None
    when: Literal["at once", "in a function", "for types"]


def imports_of(tree: ast.AST, when: str = "at once") -> Iterator[Import]:
    """Every import of a module."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, None, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(node.module or "", alias.name, when) for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from imports_of(ast.Module(node.body, []), "for types")
            yield from imports_of(ast.Module(node.orelse, []), when)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports_of(node, "in a function")
        else:
            yield from imports_of(node, when)


@dataclass(frozen=True)
class House:
    """The modules below a source folder, by name, and what they import.

    Attributes:
        files: where each module lies.
        trees: what each holds.
        imports: what each imports.
    """

    files: dict[str, Path]
    trees: dict[str, ast.Module]
    imports: dict[str, list[Import]]

    @classmethod
    def read(cls, source: Path) -> House:
        """Read all of the package."""
        files = {module_name(path.relative_to(source)): path for path in sorted((source / PACKAGE).rglob("*.py"))}
        trees = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in files.items()}
        return cls(files, trees, {name: list(imports_of(tree)) for name, tree in trees.items()})

    @property
    def rooms(self) -> list[str]:
        """The rooms' names: packages, and modules of the house itself."""
        return sorted({name.split(".")[1] for name in self.files if "." in name})

    def modules_of(self, room: str) -> list[str]:
        """All modules of a room."""
        package = f"{PACKAGE}.{room}"
        return [name for name in self.files if name == package or name.startswith(f"{package}.")]

    def packages_of(self, module: str) -> set[str]:
        """What a module imports at once from outside the house, by the first part of its name."""
        at_once = (each for each in self.imports[module] if each.when == "at once")
        return {each.module.partition(".")[0] for each in at_once} - {PACKAGE}

    def neighbours(self, module: str, at_once: bool = False) -> set[str]:
        """The modules of the house that a module imports by name, ever or at once."""
        found = set()
        for each in self.imports[module]:
            if each.when == "at once" or not at_once:
                submodule = f"{each.module}.{each.name}"
                found.add(submodule if submodule in self.files else each.module)
        return (found & self.files.keys()) - {module}

    def loaded_with(self, module: str) -> set[str]:
        """A module and all of the house that its import loads: the packages around each as well."""
        loaded: set[str] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in loaded or name not in self.files:
                continue
            loaded.add(name)
            waiting += [name.rpartition(".")[0], *self.neighbours(name, at_once=True)]
        return loaded

    def circles(self, room: str) -> list[list[str]]:
        """Modules of a room that import each other round about, at once, in functions or for types."""
        inside = self.inner(room)
        reached = {name: _reached(name, inside) for name in inside}
        found = {tuple(sorted(o for o in reached[name] if name in reached[o])) for name in inside}
        return sorted([list(circle) for circle in found if circle])

    def floors(self, room: str) -> int:
        """The longest chain of modules of a room of which each imports the next.

        Raises:
            ValueError: they go round in a circle, so that there is no longest.
        """
        if circles := self.circles(room):
            raise ValueError(f"{room} goes round in circles: {circles}")
        inside = self.inner(room)

        @functools.cache
        def height(name: str) -> int:
            return 1 + max((height(other) for other in inside[name]), default=0)

        return max((height(name) for name in inside), default=0)

    def inner(self, room: str) -> dict[str, set[str]]:
        """What each module of a room imports within it; without the lists of names that nobody in the room reads."""
        modules = set(self.modules_of(room))
        edges = {name: self.neighbours(name) & modules for name in modules}
        lists = {name for name in modules if self.files[name].name == "__init__.py"}
        read = set().union(*(others for name, others in edges.items() if name not in lists)) if modules else set()
        kept = modules - lists | (lists & read)
        return {name: edges[name] & kept for name in kept}

    def public_names(self, room: str) -> int:
        """How many names the room shows: those of its ``__all__``, or what a module of one file defines without _."""
        tree = self.trees[f"{PACKAGE}.{room}"]
        for node in tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return len(ast.literal_eval(node.value))
        return sum(not name.startswith("_") for name in defined(tree))

    def lines(self, room: str) -> int:
        """Lines of all files of a room."""
        return sum(len(self.files[name].read_text(encoding="utf-8").splitlines()) for name in self.modules_of(room))


def defined(tree: ast.Module) -> list[str]:
    """The names that a module defines at its top: classes, functions, and what is assigned."""
    found = []
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign):
            found += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append(node.target.id)
    return found


def module_name(path: Path) -> str:
    """The dotted name of a file, by its path below the source folder."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    """What can be reached from a module over one import or more."""
    found: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += edges[name]
    return found


def table(house: House) -> str:
    """The rooms, a line each, and their sum."""
    lines = [f"{'room':<14}{'files':>7}{'lines':>8}{'inner floors':>14}{'public names':>14}"]
    files = sum(len(house.modules_of(room)) for room in house.rooms)
    for room in house.rooms:
        try:
            floors = str(house.floors(room))
        except ValueError:
            floors = "a circle"
        counts = f"{len(house.modules_of(room)):>7}{house.lines(room):>8}{floors:>14}{house.public_names(room):>14}"
        lines.append(f"{room:<14}{counts}")
    total = sum(house.lines(room) for room in house.rooms)
    return "\n".join([*lines, f"{'all':<14}{files:>7}{total:>8}"])


def main() -> None:
    """Print the table of a tree."""
    parser = argparse.ArgumentParser(description="Files, lines, inner floors and public names of each room.")
    parser.add_argument("--source", type=Path, default=Path(__file__).parent.parent / "src", help="holds heed/")
    print(table(House.read(parser.parse_args().source)))


if __name__ == "__main__":
    main()
