"""A guard in a folder: all that looking ahead and planning needs, as numbers and plain data; no code, and no learner.

The folder holds ``guard.safetensors`` and ``guard.json`` (`heed.runs.state`), and ``manifest.json`` with their format
and digests. What is code is found again in the world's oracle, or given again.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch

import heed
from heed.errors import HeedError
from heed.guard.actions import ActionCoder
from heed.guard.intervention import AskWhenUnsure, Beside, FailClosed, Intervention, Lookahead, Shadow
from heed.guard.keeping.known import Code, check_same, known_of, probed
from heed.guard.keeping.parts import Disagreement, LookaheadParts
from heed.guard.keeping.policy import HasPlainPolicy, HasPlainValue, PlainPolicy, PlainValue
from heed.guard.models.models import Models
from heed.guard.models.termination import LearntTermination
from heed.guard.planning.building import Controllers
from heed.guard.situations import Situation
from heed.oversight.overseers.base import Overseer
from heed.runs.files import write_whole
from heed.runs.folders import replacing_folder
from heed.runs.state import State, read_state, write_state

FORMAT = 1
"""Of the folder; a reader of one format refuses all others."""
MANIFEST, STATE = "manifest.json", "guard"


@dataclass(frozen=True)
class Loaded:
    """What a guard is made of again.

    Args:
        intervention: decides as the saved one did.
        safe_action: the declared safe action; None where there was none.
        penalty: the price of a blocked step.
    """

    intervention: Intervention
    safe_action: Any
    penalty: float


def save_guard(folder: Path | str, intervention: Intervention, situation: Situation, penalty: float) -> None:
    """Write what an intervention looks ahead with; the folder is replaced whole or not at all.

    Args:
        folder: absent, empty, or one of these.
        intervention: the guard's.
        situation: of its environment.
        penalty: the price of a blocked step.

    Raises:
        HeedError: nothing looks ahead, or what does is of the user's own making; a folder that holds something else.
        OSError: the disk refuses.
    """
    place = Path(folder)
    lookahead = intervention.looking if _has(intervention, Beside) is None else None
    if lookahead is None or lookahead.parts is None:
        why = "nothing looks ahead yet" if lookahead is None else "what looks ahead was not made by Lookahead.of"
        raise HeedError(f"this guard cannot be saved: {why}", str(place), "save it once autonomy has begun")
    if place.exists() and not (place / MANIFEST).is_file() and (not place.is_dir() or any(place.iterdir())):
        raise HeedError("this folder holds something else than a guard", str(place), "choose another")
    state = _state(lookahead.parts, situation)
    state |= {"shadow": _has(intervention, Shadow) is not None, "ask_above": _asks(intervention), "penalty": penalty}
    place.parent.mkdir(parents=True, exist_ok=True)
    with replacing_folder(place) as made:
        write_state(made, STATE, state)
        _write_manifest(made)


def load_guard(
    folder: Path | str,
    env: gym.Env[Any, Any] | None,
    spaces: tuple[gym.Space[Any], gym.Space[Any]],
    overseer: Overseer | None,
    code: Code,
) -> Loaded:
    """Read what `save_guard` wrote.

    Args:
        folder: of the guard.
        env: whose oracle says what the guard stands on beside what it learnt; None where it is out of reach.
        spaces: of its observations and actions.
        overseer: asked where the guard is unsure, if the saved one asked.
        code: what the oracle does not say, or says otherwise.

    Raises:
        HeedError: no such folder, one that is damaged, of another format or for other spaces; code that is missing, or
            says other things than that of the saved guard.
    """
    place = Path(folder)
    state, where = _read(place), str(place)
    actions = ActionCoder(spaces[1])
    _check_spaces(state["spaces"], spaces, where)
    known = {**known_of(env), **code}
    needed = set(state["code"])
    if state["policy"] is not None and "policy" not in code:
        known["policy"] = PlainPolicy.from_state(state["policy"], spaces[1])
    if state["value"] is not None and "value" not in code:
        known["value"] = PlainValue.from_state(state["value"], spaces[1])
    if beyond := sorted(code.keys() - needed - {"policy", "value"}):
        reason = f"this guard was saved without what is given: {', '.join(beyond)}"
        raise HeedError(reason, where, "leave it out")
    missing = sorted(needed - known.keys())
    if missing:
        fix = f"give {', '.join(f'{name}=' for name in missing)}"
        raise HeedError(f"this guard stands on code that no oracle says here: {', '.join(missing)}", where, fix)
    check_same({name: known[name] for name in needed}, state["probes"], actions, where)
    known = {name: known[name] for name in known if name in needed | {"policy", "value"}}
    lookahead = Lookahead.of(_parts(state, known, actions))
    intervention: Intervention = lookahead
    if state["ask_above"] is not None:
        if overseer is None:
            raise HeedError("this guard asks an overseer where it is unsure", where, "give overseer=")
        assert lookahead.parts is not None
        intervention = AskWhenUnsure(lookahead, overseer, Disagreement(lookahead.parts.models, state["ask_above"]))
    intervention = Shadow(intervention) if state["shadow"] else intervention
    return Loaded(intervention, known.get("safe_action"), state["penalty"])


def _state(parts: LookaheadParts, situation: Situation) -> State:
    models, controllers = parts.models, parts.controllers
    code: dict[str, Any] = {
        "policy": controllers.policy,
        "brake": controllers.brake,
        "value": controllers.value,
        "termination": None if isinstance(models.termination, LearntTermination) else models.termination,
        "reward": models.reward,
        "dynamics": models.known_dynamics,
        "danger": models.known_danger,
        "safe_action": situation.safe_action,
    }
    code = {name: function for name, function in code.items() if function is not None}
    policy, value = _plain(code.get("policy"), HasPlainPolicy), _plain(code.get("value"), HasPlainValue)
    written = {name for name, found in (("policy", policy), ("value", value)) if found is not None}
    code = {name: function for name, function in code.items() if name not in written}
    return {
        "spaces": {"observation": _described(situation.space), "action": _described(parts.actions.space)},
        "planning": parts.planning,
        "config": models.config,
        "seed": models.seed,
        "learnt_termination": isinstance(models.termination, LearntTermination),
        "models": models.state(),
        "policy": None if policy is None else policy.state(),
        "value": None if value is None else value.state(),
        "code": sorted(code),
        "probes": probed(code, situation.space, parts.actions),
        "replaces": parts.replaces,
        "generator": parts.generator.get_state(),
    }


def _parts(state: State, known: Mapping[str, Any], actions: ActionCoder) -> LookaheadParts:
    config, size = state["config"], len(state["probes"]["states"][0])
    ends = known.get("termination")
    if state["learnt_termination"]:
        ends = LearntTermination(size, config.members, seed=state["seed"])
    given = (known.get("dynamics"), known.get("danger"), known.get("reward"), ends)
    models = Models(size, actions.size, config, state["seed"], *given)
    models.restore(state["models"])
    generator = torch.Generator()
    generator.set_state(state["generator"])
    controllers = Controllers(known["policy"], known.get("brake"), known.get("value"))
    return LookaheadParts(state["planning"], models, controllers, actions, generator, state["replaces"])


def _plain(function: Any, protocol: Any) -> Any:
    """A policy or a value in plain layers; None where it cannot be written down in them, and has to be given again."""
    if not isinstance(function, protocol):
        return None
    try:
        return function.plain()
    except HeedError:
        return None


def _has(intervention: Intervention, kind: type) -> Any:
    """What of an intervention is of a kind, itself or one that it is around."""
    while not isinstance(intervention, kind):
        if not isinstance(intervention, FailClosed | Shadow):
            return None
        intervention = intervention.inner
    return intervention


def _asks(intervention: Intervention) -> float | None:
    asking = _has(intervention, AskWhenUnsure)
    if asking is None:
        return None
    if not isinstance(asking.unsure, Disagreement):
        raise HeedError("a rule of one's own says when this guard asks", "Guard.save", "take Disagreement")
    return asking.unsure.above if asking.unsure.above <= 0.5 else None


def _described(space: gym.Space[Any]) -> State:
    if isinstance(space, gym.spaces.Discrete):
        return {"n": int(space.n), "start": int(space.start)}
    box = cast(gym.spaces.Box, space)
    return {"low": box.low, "high": box.high, "dtype": str(box.dtype)}


def _space(description: State) -> gym.Space[Any]:
    if "n" in description:
        return gym.spaces.Discrete(description["n"], start=description["start"])
    low, high = description["low"], description["high"]
    return gym.spaces.Box(low, high, dtype=np.dtype(description["dtype"]).type)


def _check_spaces(described: State, spaces: tuple[gym.Space[Any], gym.Space[Any]], where: str) -> None:
    for name, here in zip(("observation", "action"), spaces, strict=True):
        there = _space(described[name])
        if there != here:
            fix = "give the environment that it was trained in"
            raise HeedError(f"this guard was saved for {name}s in {there}, here they are in {here}", where, fix)


def _write_manifest(folder: Path) -> None:
    digests = {file.name: _digest(file) for file in sorted(folder.iterdir())}
    versions = {"heed": heed.__version__, "torch": torch.__version__, "numpy": np.__version__}
    versions |= {"gymnasium": gym.__version__, "python": platform.python_version()}
    manifest = {"kind": "guard", "format": FORMAT, "versions": versions, "files": digests}
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _read(folder: Path) -> State:
    """The state in a folder, after its manifest has been heeded."""
    again = "save the guard again, or restore a copy"
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        kind, written, files = manifest["kind"], manifest["format"], dict(manifest["files"])
        version = manifest["versions"]["heed"]
    except FileNotFoundError as error:
        raise HeedError("there is no saved guard", str(folder), "give a folder that Guard.save wrote") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise HeedError(f"{MANIFEST} is damaged", str(folder), again) from error
    if kind != "guard" or written != FORMAT:
        reason = f"this guard is of format {written}, and heed {heed.__version__} reads {FORMAT}"
        raise HeedError(reason, str(folder), f"load it with heed {version}")
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise HeedError(f"{name} is missing", str(folder), again)
        if _digest(folder / name) != digest:
            raise HeedError(f"{name} is damaged", str(folder), again)
    return read_state(folder, STATE)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
