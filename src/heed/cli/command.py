"""One command's parser: flags as people type them, and a refusal in one line."""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from argparse import SUPPRESS, Action, ArgumentTypeError
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace

from heed.errors import HeedError, flag_of
from heed.runs.config import read_yaml
from heed.runs.sections import documented, flat, full_name, named, short_name


def numbers(text: str) -> list[float]:
    """Numbers with commas between.

    >>> numbers(".7,.3")
    [0.7, 0.3]
    """
    try:
        return [float(part) for part in text.strip("[]").split(",")]
    except ValueError:
        raise ArgumentTypeError(f"'{text}' is not a list of numbers such as .7,.3") from None


def words(text: str) -> list[str]:
    """Words with commas between, and spaces if wanted.

    >>> words("gapo:p=1, mgda,")
    ['gapo:p=1', 'mgda']
    """
    return [part.strip() for part in text.split(",") if part.strip()]


EVERYWHERE = "--quiet, --verbose and --debug are taken as well: see heed --help."
"""What every command's help says last."""


@dataclass(frozen=True)
class Setting:
    """What a command knows of a setting.

    Args:
        kind: its type.
        default: where nothing else holds; `dataclasses.MISSING` where it has to be given.
        help: one sentence.
        flag: more of its flag, as argparse takes it: with nargs its values have spaces between them, else commas.
    """

    kind: Any
    default: Any
    help: str
    flag: Mapping[str, Any] = field(default_factory=dict)


def settings_in(of: Any, prefix: str = "") -> dict[str, Setting]:
    """A dataclass's settings by their full names, those of its sections left out.

    Args:
        of: the dataclass, whose docstring says what each setting is, or an instance with other defaults.
        prefix: of the full names.
    """
    kind = of if isinstance(of, type) else type(of)
    hints, help_of = typing.get_type_hints(kind), documented(kind)[1]
    return {
        f"{prefix}{each.name}": Setting(
            hints[each.name],
            _default(each) if of is kind else getattr(of, each.name),
            help_of.get(each.name, ""),
            each.metadata,
        )
        for each in dataclasses.fields(kind)
        if not dataclasses.is_dataclass(hints[each.name])
    }


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def in_words(kind: Any) -> str:
    """What a setting of this type takes, as --help says it; "" for text, and where the choices stand beside its flag.

    >>> in_words(float), in_words(int | None), in_words(list[float] | None), in_words(Literal["cpu", "cuda"])
    ('number', 'whole number', 'numbers with commas between', '')
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(filter(None, map(in_words, parts)))
    if origin in (list, tuple):
        return f"{in_words(parts[0]) or 'word'}s with commas between"
    if origin is dict:
        return "JSON object"
    return {int: "whole number", float: "number", bool: "true or false"}.get(kind, "")


class HelpInWords(DefaultHelpFormatter):
    """--help with types in words, and no more of a default than there is."""

    def _get_help_string(self, action: Action) -> str:
        kind = getattr(action, "_typehint", action.type)
        notes = ["required"] if action.required and action.option_strings else []
        notes += [told] if action.nargs is None and (told := in_words(kind)) else []
        if action.default not in (None, SUPPRESS, "", [], (), {}) and not (
            action.nargs == 0 and action.default is False
        ):
            several = isinstance(action.default, list | tuple)
            notes.append(f"default: {','.join(map(str, action.default))}" if several else "default: %(default)s")
        text = (action.help or "").replace("``", "")
        return text + (f" ({', '.join(notes)})" if notes else "")


class Command:
    """One command's parser.

    Args:
        name: the command.
        description: one sentence.
        epilog: what --help says last.

    Attributes:
        kinds: of the options that were added, and of the settings, by full name.
        known_settings: by full name.
    """

    def __init__(self, name: str, description: str, epilog: str | None = None) -> None:
        self.parser = ArgumentParser(
            prog=f"heed {name}",
            description=description,
            epilog=" ".join(filter(None, [epilog, EVERYWHERE])),
            exit_on_error=False,
            formatter_class=HelpInWords,
        )
        self.kinds: dict[str, Any] = {}
        self.known_settings: dict[str, Setting] = {}
        self._positionals: set[str] = set()
        self._groups: list[tuple[str, list[str]]] = []

    def add(self, *names: str, **options: Any) -> None:
        """Add one option."""
        action = self.parser.add_argument(*names, **options)
        if not action.option_strings:
            self._positionals.add(action.dest)
        self.kinds[action.dest] = bool if options.get("action") == "store_true" else options.get("type") or str

    def add_group(self, title: str, settings: Mapping[str, Setting]) -> None:
        """Add settings; each has a flag of its shortest name, and its full name does as well.

        Args:
            title: of the group in --help.
            settings: by full name.
        """
        self._groups.append((title, list(settings)))
        self.known_settings |= settings
        self.kinds |= {name: setting.kind for name, setting in settings.items()}

    def add_sections(self, default: Any, title: str, prefix: str = "") -> None:
        """Add all settings of a dataclass, each of its sections as a group.

        Args:
            default: an instance of the dataclass.
            title: of the first group.
            prefix: of the full names.
        """
        self.add_group(title, settings_in(default, prefix))
        help_of = documented(type(default))[1]
        for name, section in vars(default).items():
            if dataclasses.is_dataclass(section):
                title = f"{prefix}{name}.: {help_of.get(name, '').rstrip('.')}"
                self.add_sections(section, title, f"{prefix}{name}.")

    def parse(self, arguments: Sequence[str], **how: Any) -> Namespace:
        """Read the arguments; ``--some-flag`` and ``--some_flag`` are the same, and so are full and short names.

        Args:
            arguments: as typed.
            how: passed on to jsonargparse.

        Raises:
            HeedError: an unknown flag or a value of the wrong kind.
        """
        for title, names in self._groups:
            group = self.parser.add_argument_group(title)
            for name in names:
                self._add_setting(group, name)
        self._groups = []
        try:
            return self.parser.parse_args(self._spelt(arguments), **how)
        except (ArgumentError, ArgumentTypeError) as error:
            raise self.refused(error, self.parser.prog) from None

    def asked(self, arguments: Sequence[str]) -> dict[str, Any]:
        """What was asked for by flags, and in the YAML file ``config`` below them: options and settings by full name.

        A setting that may be None is None again by ``--name null``, whatever the file says.

        Raises:
            HeedError: an unknown flag or name, a value of the wrong kind, a file that is no mapping.
        """
        found = self.flags(arguments)
        return (self.read(Path(found["config"])) if "config" in found else {}) | found

    def flags(self, arguments: Sequence[str]) -> dict[str, Any]:
        """What was asked for by flags alone: options and settings by full name.

        Raises:
            HeedError: an unknown flag, or a value of the wrong kind.
        """
        parsed = vars(self.parse(arguments, defaults=False).as_flat())
        return {name: value for name, value in parsed.items() if value is not None or name in self.known_settings}

    def read(self, path: Path) -> dict[str, Any]:
        """The settings and options of a YAML file by full name, of the types that the flags have.

        Raises:
            HeedError: an unknown name, a value of the wrong kind, a file that is no mapping.
        """
        kinds = {name: kind for name, kind in self.kinds.items() if name not in ("config", "resume")}
        values = {}
        for key, value in flat(self.upgraded(read_yaml(path)), kinds).items():
            name = full_name(key, kinds, str(path), self.see)
            try:
                plain = not isinstance(value, str) or self._spaced(name)
                values[key] = value if plain else listed(kinds[name], value)
            except ArgumentTypeError as error:
                raise HeedError(str(error), str(path), self.see) from None
        return named(values, kinds, str(path), self.see)

    def upgraded(self, settings: dict[str, Any]) -> dict[str, Any]:
        """What a file holds, as this version reads it."""
        return settings

    @property
    def see(self) -> str:
        """Where all settings are told."""
        return f"see {self.parser.prog} --help"

    def show_help(self, defaults: Mapping[str, Any]) -> None:
        """Print the help with the defaults that hold, and end the program."""
        self.parse([], defaults=False)
        self.parser.set_defaults({name: value for name, value in defaults.items() if name in self.kinds})
        self.parser.print_help()
        raise SystemExit(0)

    def refused(self, error: Exception, where: str) -> HeedError:
        """What jsonargparse says, as one line of heed's own."""
        reason = " ".join(str(error).split())
        wrong = re.search(r'Parser key "([\w.]+)".*(?:Got|Given) value: (.*)$', reason)
        if wrong is not None:
            reason = f"{self._as_typed(wrong[1])} cannot be '{wrong[2]}'"
        lacking = re.search(r"arguments are required: (.*)$", reason)
        if lacking is not None:
            reason = f"it needs {', '.join(map(self._as_typed, lacking[1].split(', ')))}"
        return HeedError(reason, where, self.see)

    def _as_typed(self, name: str) -> str:
        return name if name in self._positionals else flag_of(name)

    def _add_setting(self, group: Any, name: str) -> None:
        setting, short = self.known_settings[name], short_name(name, self.kinds)
        options = {"metavar": name.rpartition(".")[2].upper(), **setting.flag}
        if setting.kind is bool or typing.get_origin(setting.kind) is Literal:
            del options["metavar"]  # --help shows the choices
        kind = str if "nargs" in options else setting.kind
        if setting.default is dataclasses.MISSING:
            options["required"] = True
        else:
            options["default"] = setting.default
        group.add_argument(flag_of(short), dest=name, type=kind, help=setting.help, **options)

    def _spelt(self, arguments: Sequence[str]) -> list[str]:
        """The arguments as jsonargparse reads them: flags with hyphens and of short names, lists as JSON."""
        found: list[str] = []
        flag = ""
        for argument in arguments:
            name, equals, value = argument.partition("=")
            if argument.startswith("--"):
                flag = name[2:].replace("-", "_")
                if self.known_settings and flag and flag != "help":
                    flag = full_name(flag, self.kinds, fix=self.see)
                shown = short_name(flag, self.kinds) if flag in self.known_settings else flag
                found.append(flag_of(shown) + (equals + self._json(flag, value) if equals else ""))
            else:
                found.append(self._json(flag, argument))
                flag = flag if self._spaced(flag) else ""
        return found

    def _spaced(self, flag: str) -> bool:
        """Whether a flag's values have spaces between them."""
        return flag in self.known_settings and "nargs" in self.known_settings[flag].flag

    def _json(self, flag: str, text: str) -> str:
        found = text if self._spaced(flag) else listed(self.kinds.get(flag, str), text)
        return found if isinstance(found, str) else json.dumps(found)


def listed(kind: Any, text: str) -> Any:
    """A text with commas as the list that a setting's type asks for; any other text, and null for None, as it is.

    >>> listed(list[float] | None, ".7,.3"), listed(list[str], "a, b"), listed(float | list[float], "0.1")
    ([0.7, 0.3], ['a', 'b'], '0.1')
    >>> listed(list[float] | None, "null")
    'null'
    """
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    of = [typing.get_args(each)[0] for each in kinds if typing.get_origin(each) in (list, tuple)]
    several = "," in text or float not in kinds
    unset = text == "null" and types.NoneType in kinds
    if not of or not several or unset or (text.startswith("[") and of[0] is str):
        return text
    if of[0] is str:
        return words(text)
    found = numbers(text)
    return [int(number) for number in found] if of[0] is int and all(n.is_integer() for n in found) else found


def refuse_unread(given: Collection[str], readers: Mapping[str, str]) -> None:
    """Refuse an option that nothing would read.

    Args:
        given: names of the options that were given.
        readers: of some options, the name of the one that reads each.

    Raises:
        HeedError: the one that reads it was not given.

    >>> refuse_unread(["people"], {"people": "serve"})
    Traceback (most recent call last):
    heed.errors.HeedError: nothing would read this (--people): give --serve too, or leave it out
    """
    for name, reader in readers.items():
        if name in given and reader not in given:
            raise HeedError("nothing would read this", flag_of(name), f"give {flag_of(reader)} too, or leave it out")


def refuse_both(given: Collection[str], *names: str) -> None:
    """Refuse options of which each stands for something else to do.

    Raises:
        HeedError: several of them were given.

    >>> refuse_both(["serve", "verify"], "verify", "serve")
    Traceback (most recent call last):
    heed.errors.HeedError: only one of these can be done at a time (--verify, --serve): give one of them
    """
    found = [name for name in names if name in given]
    if len(found) > 1:
        where = ", ".join(flag_of(name) for name in found)
        raise HeedError("only one of these can be done at a time", where, "give one of them")


def add_logins(command: Command) -> None:
    """The options of logins that last, and of TLS, for a command that serves pages to people."""
    for flag, about in {
        "--tokens": "a file that keeps people's tokens, so that addresses outlast this start; made if it is not there",
        "--rotate": "with --tokens: whose token is replaced by a new one: names with commas between them",
        "--revoke": "with --tokens: whose login is ended: names with commas between them",
        "--tls-cert": "a certificate as PEM, for a host that others reach",
        "--tls-key": "its private key as PEM",
    }.items():
        command.add(flag, type=str, default=None, help=about)


def out_folder(given: str | None, stem: str) -> Path:
    """The run folder: as given, or a new one below runs/."""
    if given is not None:
        return Path(given)
    root = Path("runs")
    number = next(n for n in range(1, 1_000_000) if not (root / f"{stem}-{n}").exists())
    return root / f"{stem}-{number}"
