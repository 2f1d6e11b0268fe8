"""The exact front against brute force, and the shape that docs/methods.md describes."""

import json
import pickle
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from heed.errors import HeedError
from heed.worlds.apothecary import Apothecary, ExactFront
from heed.worlds.apothecary.hulls import nondominated, upper_hull
from heed.worlds.apothecary.language import SIDE_EFFECTS, Reply, render_reply

ALL = ("help", "harmless", "brevity", "price")


def every_reply(remedies, doses, most=2):
    """All texts with up to ``most`` prescriptions of these remedies, in any order but one, warned or not."""
    single = list(product(remedies, doses))
    prescribed = [p for count in range(1, most + 1) for p in combinations_with_replacement(single, count)]
    return [render_reply(Reply(p, effect)) for p in prescribed for effect in (None, SIDE_EFFECTS[0])]


def small_front(names, remedies=(0, 1, 6), doses=(1, 2), prompts=(0, 40)):
    """Front and the values of every combination of replies to two prompts, by text and gold alone."""
    world = Apothecary(seed=3, objectives=names)
    replies = every_reply(remedies, doses)
    values = [world.gold([world.prompts[index]] * len(replies), replies).numpy() for index in prompts]
    combinations = np.array([(a + b) / 2 for a in np.unique(values[0], axis=0) for b in np.unique(values[1], axis=0)])
    return ExactFront.of(names, values), combinations


def polyline_distance(point, vertices):
    """Distance of a point from the polyline through vertices [V, 2]."""
    start, edge = vertices[:-1], np.diff(vertices, axis=0)
    along = (((point - start) * edge).sum(1) / (edge**2).sum(1)).clip(0, 1)
    return np.linalg.norm(start + along[:, None] * edge - point, axis=1).min()


def test_two_objectives_have_exactly_the_vertices_of_brute_force():
    front, combinations = small_front(("help", "harmless"))
    np.testing.assert_allclose(front.vertices, upper_hull(combinations)[::-1], atol=1e-12)
    hull = combinations[ConvexHull(combinations).vertices]
    np.testing.assert_allclose(front.ideal, hull.max(0))
    assert front.gap == 0.0


@pytest.mark.parametrize("names", [ALL[:3], ("help", "harmless", "price"), ALL])
def test_three_and_four_objectives_support_every_weighting_like_brute_force(names):
    front, combinations = small_front(names, remedies=(0, 6, 8), doses=(1, 2))
    combinations = nondominated(combinations)
    weights = np.random.default_rng(0).dirichlet(np.ones(len(names)), 200) / front.ranges
    best = (combinations @ weights.T).max(0)
    np.testing.assert_allclose([w @ front.optimum(w) for w in weights], best, rtol=1e-7)
    np.testing.assert_allclose((front.vertices @ weights.T).max(0), best, atol=front.gap + 1e-7)
    assert front.gap <= 3e-4


def test_three_objectives_keep_all_vertices():
    front, combinations = small_front(ALL[:3], remedies=(0, 6), doses=(1, 2))
    weights = np.random.default_rng(1).dirichlet(np.ones(3), 3000) / front.ranges
    optimal = {tuple(p.round(9)) for p in combinations[(combinations @ weights.T).argmax(0)]}
    assert optimal <= {tuple(p.round(9)) for p in front.vertices}
    assert front.gap < 1e-8


@pytest.fixture(scope="module")
def front():
    return Apothecary().front()


def test_the_optimum_for_weights_is_a_vertex_and_the_best_of_all(front):
    for weights in np.random.default_rng(0).dirichlet(np.ones(2), 50) / front.ranges:
        optimum = front.optimum(weights)
        assert weights @ optimum == pytest.approx((front.vertices @ weights).max(), rel=1e-7)
        assert np.abs(front.vertices - optimum).max(1).min() < 1e-9


def test_a_single_objective_is_broken_towards_the_pareto_optimal_end(front):
    np.testing.assert_allclose(front.optimum([1.0, 0.0]), front.vertices[-1])
    np.testing.assert_allclose(front.optimum([0.0, 2.0]), front.vertices[0])


@pytest.mark.parametrize("prompt", [3, 70])
def test_the_replies_of_a_prompt_are_the_undominated_ones_of_all_texts(prompt):
    world = Apothecary(seed=2, objectives=ALL)
    texts = every_reply(range(10), (1, 2, 3), most=3)
    values = nondominated(world.gold([world.prompts[prompt]] * len(texts), texts).numpy())
    found = nondominated(world.front().replies[prompt])
    assert len(texts) == 2 * 5455
    np.testing.assert_allclose(np.unique(found.round(9), axis=0), np.unique(values.round(9), axis=0))


def test_no_reply_by_text_beats_the_front(front):
    world = Apothecary()
    rows = world.demonstrations(2000, torch.Generator().manual_seed(0))
    values = world.gold([row["prompt"] for row in rows], [row["completion"] for row in rows]).numpy()
    best = dict(zip(world.prompts, front.replies, strict=True))
    for row, value in zip(rows, values, strict=True):
        hull = best[row["prompt"]]
        for weights in ([1.0, 0.0], [0.0, 1.0], [1.0, 5.0], [1.0, 10.0]):
            assert value @ weights <= (hull @ weights).max() + 1e-9


@pytest.mark.parametrize("help_weight", [0.05, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_the_tchebycheff_point_lies_on_the_front_and_on_the_ray_from_the_ideal(front, help_weight):
    preference = np.array([help_weight, 1 - help_weight])
    point = front.scale(front.tchebycheff(preference))
    shortfall = preference * (1 - point)
    assert shortfall[0] == pytest.approx(shortfall[1], abs=1e-6)
    assert polyline_distance(point, front.scale(front.vertices)) < 1e-6


def test_the_more_preferred_objective_gains_along_the_tchebycheff_points(front):
    points = np.array([front.tchebycheff([w, 1 - w]) for w in np.linspace(0, 1, 11)])
    assert (np.diff(points[:, 0]) > 0).all()
    assert (np.diff(points[:, 1]) < 0).all()
    np.testing.assert_allclose(points[[0, -1]], front.vertices[[0, -1]], atol=1e-5)


@pytest.mark.parametrize("level", [-1.6, -1.0, -0.5, -0.2])
def test_the_best_under_a_constraint_lies_on_the_front_at_its_level(front, level):
    found = front.constrained({"harmless": level})
    assert found[1] == pytest.approx(level, abs=1e-9)
    vertices = front.vertices[np.argsort(front.vertices[:, 1])]
    assert found[0] == pytest.approx(np.interp(level, vertices[:, 1], vertices[:, 0]), abs=1e-9)


def test_a_level_that_all_keep_changes_nothing_and_one_that_none_keeps_is_refused(front):
    assert front.constrained({"harmless": -100.0})[0] == pytest.approx(front.ideal[0])
    for levels, says in (
        ({"harmless": 0.5}, "no policy keeps"),
        ({"kind": 1.0}, "no objective 'kind'"),
        ({"help": 1.0, "harmless": -1.0}, "every objective"),
    ):
        with pytest.raises(HeedError, match=says):
            front.constrained(levels)


def test_no_policy_is_better_under_two_constraints():
    front = Apothecary(0, ("help", "harmless", "brevity")).front()
    levels = {"harmless": -0.8, "brevity": float(front.nadir[2] + 0.5 * front.ranges[2])}
    found = front.constrained(levels)
    assert all(value >= levels.get(name, -np.inf) - 1e-9 for name, value in zip(front.names, found, strict=True))
    generator = np.random.default_rng(0)
    for _ in range(300):  # weak duality: any multipliers bound what a policy can reach
        multipliers = generator.exponential([0.0, 3.0, 3.0])
        bound = front.optimum([1.0, *multipliers[1:]])
        value = (
            bound[0]
            + multipliers[1] * (bound[1] - levels["harmless"])
            + multipliers[2] * (bound[2] - levels["brevity"])
        )
        assert found[0] <= value + 1e-9


@pytest.mark.parametrize("names", [ALL[:3], ALL])
def test_tchebycheff_beats_every_vertex_and_no_policy_improves_on_it(names):
    front = Apothecary(objectives=names).front()
    rng = np.random.default_rng(0)
    for preference in rng.dirichlet(np.ones(len(names)), 5):
        point = front.scale(front.tchebycheff(preference))
        worst = (preference * (1 - point)).max()
        assert worst <= (preference * (1 - front.scale(front.vertices))).max(1).min() + 1e-6
        # Optimal: some weights on the tight objectives make the point a maximum (minimax duality), so no
        # weighting of the tight objectives alone can leave the whole front below it.
        tight = preference * (1 - point) > worst - 1e-6
        mixtures = rng.dirichlet(np.ones(tight.sum()), 200)
        weights = np.zeros((200, len(names)))
        weights[:, tight] = mixtures
        assert all(w @ front.scale(front.optimum(w / front.ranges)) >= w @ point - 1e-6 for w in weights)


@pytest.mark.parametrize("seed", range(4))
def test_help_against_harmless_has_three_nearly_straight_pieces_and_a_kink(seed):
    vertices = Apothecary(seed=seed).front()
    scaled = vertices.scale(vertices.vertices)
    edges = np.diff(scaled, axis=0)
    length = np.linalg.norm(edges, axis=1)
    share, angle = length / length.sum(), np.degrees(np.arctan2(-edges[:, 1], edges[:, 0]))
    assert (np.diff(angle) > 0).all()  # concave
    # Nearly straight: within 5 degrees. With the empty reply allowed they would be 0.33, 0.24 and 0.25.
    pieces = [
        max(share[(angle >= start) & (angle <= min(start + 5, high))].sum() for start in angle[angle >= low])
        for low, high in ((0, 25), (25, 60), (60, 90))
    ]
    assert pieces == pytest.approx([0.22, 0.29, 0.26], abs=0.03)
    # A kink: the front turns by 33 degrees within a hundredth of its length, just where help reaches 11.5.
    end = np.cumsum(share)
    turns = [
        (angle[after] - angle[before], after)
        for before in range(len(angle))
        for after in range(before + 1, len(angle))
        if end[after - 1] - end[before] <= 0.01
    ]
    turn, after = max(turns)
    assert 28 < turn < 38
    assert vertices.vertices[after][0] == pytest.approx(11.5, abs=0.2)


def test_figures_of_the_prototype_come_out_again(front):
    """Of a prototype: the exact optima at five preferences, and their share of the exact hypervolume."""
    points = np.array([front.tchebycheff([w, 1 - w]) for w in (0.1, 0.3, 0.5, 0.7, 0.9)])
    np.testing.assert_allclose(points[:, 0], [5.7, 7.6, 9.0, 10.2, 11.4], atol=0.3)
    assert front.share(points) == pytest.approx(0.919, abs=0.01)
    assert front.share(points, hull=True) == pytest.approx(0.951, abs=0.01)
    assert front.share(front.vertices, hull=True) == 1.0


def test_scale_is_zero_at_the_nadir_and_one_at_the_ideal(front):
    np.testing.assert_allclose(front.scale(front.nadir), [0, 0])
    np.testing.assert_allclose(front.scale(np.stack([front.ideal, front.nadir])), [[1, 1], [0, 0]])
    assert front.ideal == pytest.approx([12.0, -0.125])


def test_the_two_references_lie_below_the_front_and_weigh_its_ends_differently(front):
    near, far = front.references
    assert (near < front.nadir).all()
    assert (far < near).all()
    end = front.vertices[:1]
    shares = [front.share(end, reference) for reference in (near, far)]
    assert shares[0] < 0.15 < shares[1]


def test_the_record_is_json_and_the_front_can_be_pickled(front):
    record = json.loads(json.dumps(front.to_record()))
    assert record["names"] == ["help", "harmless"]
    np.testing.assert_array_equal(record["vertices"], front.vertices)
    np.testing.assert_array_equal(record["references"], front.references)
    again = pickle.loads(pickle.dumps(front))
    np.testing.assert_array_equal(again.optimum([1.0, 5.0]), front.optimum([1.0, 5.0]))


def test_the_front_is_computed_once(front):
    assert Apothecary().front() is front
    assert Apothecary(seed=1).front() is not front


def test_one_objective_has_one_point_and_objectives_may_come_in_any_order(front):
    alone = Apothecary(objectives=("help",)).front()
    assert alone.vertices == pytest.approx(np.array([[12.0]]))
    assert alone.tchebycheff([1.0]) == pytest.approx([12.0])
    swapped = Apothecary(objectives=("harmless", "help")).front()
    np.testing.assert_allclose(swapped.vertices[::-1, ::-1], front.vertices)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -0.1], [0.0, 0.0], [np.nan, 1.0], [1.0, 1.0, 1.0]])
def test_weights_that_do_not_suit_are_refused(front, weights):
    with pytest.raises(HeedError, match="give 2 non-negative numbers"):
        front.optimum(weights)


def test_a_preference_off_the_simplex_is_refused(front):
    with pytest.raises(HeedError, match=r"sums to 1\.4"):
        front.tchebycheff([0.7, 0.7])
