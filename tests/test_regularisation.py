"""What keeps a network from learning its films by heart: each does what it says, and can be off."""

from __future__ import annotations

from dataclasses import asdict

import pytest

torch = pytest.importorskip("torch")

from export.augment import augment  # noqa: E402
from export.average import decay_at, follow  # noqa: E402
from export.mixing import make_mixer  # noqa: E402
from export.network import Block, Network  # noqa: E402
from export.recipe import RECIPES, Recipe, Stage, describe  # noqa: E402
from screener.errors import UsageError  # noqa: E402


def films(count: int = 6, size: int = 64) -> torch.Tensor:
    """Smooth drawn films, each another."""
    at = torch.linspace(0, 3, size)
    waves = [(at[:, None] * (1 + i / 3)).sin() * (at + i).cos() for i in range(count)]
    return torch.stack(waves)[:, None] / 2 + 0.5


def test_weaker_augmentation_changes_films_less() -> None:
    x = films(24)
    moved = []
    for strength in (0.0, 0.3, 1.0):
        g = torch.Generator().manual_seed(4)
        changed = augment(x, 64, g, strength=strength)
        assert changed.shape == x.shape
        assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
        moved.append(float((changed - x).abs().mean()))
    # Gamma's floor alone is left at strength 0.
    assert moved[0] < 2e-4
    assert moved[0] < 0.6 * moved[1] < 0.6 * moved[2]


def test_augmentation_of_full_strength_is_the_default() -> None:
    x = films()
    one, other = (
        augment(x, 64, torch.Generator().manual_seed(1), 0.2, *more) for more in ((), (1.0,))
    )
    assert torch.equal(one, other)


def test_films_are_mirrored_where_a_recipe_asks_for_it_and_in_its_share_alone() -> None:
    x = films(64)
    plain, none, all_of_them, half = (
        augment(given, 64, torch.Generator().manual_seed(2), strength=0.0, flip=flip)
        for given, flip in ((x, 0.0), (x.flip(-1), 0.0), (x, 1.0), (x, 0.5))
    )
    assert torch.equal(all_of_them, none)
    mirrored = (half == none).flatten(1).all(1)
    assert torch.equal(half[~mirrored], plain[~mirrored])
    assert 20 <= int(mirrored.sum()) <= 44


def test_drop_path_leaves_later_blocks_out_more_often_and_only_in_training() -> None:
    torch.manual_seed(0)
    network = Network(1, drop_path=0.6)
    rates = [module.drop.p for module in network.modules() if isinstance(module, Block)]
    assert len(rates) == 16
    assert rates == sorted(rates)
    assert (rates[0], rates[-1]) == (0.0, 0.6)
    # With batch norms that never move, dropping is all that differs between two passes.
    x = films(4)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.0
    with torch.no_grad():
        network.train()
        assert not torch.equal(network(x), network(x))
        network.eval()
        assert torch.equal(network(x), network(x))


def test_a_dropped_branch_leaves_the_shortcut() -> None:
    block = Block(64, 16)
    block.drop.p = 1.0
    x = torch.rand(3, 64, 8, 8)
    assert torch.equal(block.train()(x), x)
    assert not torch.equal(block.eval()(x), x)


def test_the_same_weights_fit_with_and_without_drop_path() -> None:
    torch.manual_seed(0)
    plain = Network(1)
    torch.manual_seed(0)
    dropping = Network(1, drop_path=0.2)
    assert plain.state_dict().keys() == dropping.state_dict().keys()
    x = films(2)
    with torch.inference_mode():
        assert torch.equal(plain.eval()(x), dropping.eval()(x))


def test_mixing_blends_films_and_labels_by_one_share() -> None:
    x, labels = films(4), torch.tensor([[0.0], [1.0], [0.0], [0.0]])
    torch.manual_seed(3)
    mixed, soft = make_mixer(0.8, 0.0)(x, labels)
    # Films are paired with the one before: film 2 has the positive's share.
    share = float(soft[2])
    assert 0 < share < 1
    assert float(soft[1]) == pytest.approx(1 - share)
    assert torch.allclose(mixed[2], x[2] * (1 - share) + x[1] * share, atol=1e-6)


def test_a_pasted_box_gives_its_area_to_the_label() -> None:
    x, labels = films(4), torch.tensor([[0.0], [1.0], [0.0], [0.0]])
    torch.manual_seed(3)
    mixed, soft = make_mixer(0.0, 1.0)(x, labels)
    pasted = mixed[2] != x[2]
    assert torch.equal(mixed[2][pasted], x[1][pasted])
    assert float(soft[2]) == pytest.approx(float(pasted.float().mean()), abs=0.02)
    assert 0 < float(soft[2]) < 1


def test_without_mixing_nothing_is_drawn() -> None:
    x, labels = films(2), torch.tensor([[0.0], [1.0]])
    state = torch.get_rng_state()
    assert make_mixer(0.0, 0.0)(x, labels) == (x, labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_either_way_of_mixing_comes_up() -> None:
    x, labels = films(4), torch.tensor([[0.0], [1.0], [0.0], [0.0]])
    torch.manual_seed(0)
    mix, untouched = make_mixer(1.0, 1.0), []
    for _ in range(20):
        mixed, _ = mix(x, labels)
        untouched.append(float((mixed == x).float().mean()))
    # A box leaves most of a film as it is; a blend hardly any of it.
    assert sum(share > 0.2 for share in untouched) >= 3
    assert sum(share < 0.2 for share in untouched) >= 3


def test_the_average_remembers_all_of_its_tail() -> None:
    assert decay_at(0.9, 0, 0) == pytest.approx(0.1)
    assert decay_at(0.9, 10_000, 0) == pytest.approx(0.9)
    average, network = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        average.weight.fill_(0.0)
        values = list(range(1, 201))
        for tail, value in enumerate(values, 1):
            network.weight.fill_(float(value))
            follow(average, network, decay_at(0.9, 10_000, tail))
    # Each of the tail weighs alike, the ten steps of memory before it too.
    assert average.weight.item() == pytest.approx(sum(values) / (200 + 10), rel=1e-3)


def test_settings_of_a_command_line_change_a_recipe() -> None:
    changed = RECIPES["scratch"].changed(
        ["drop_path=0.1", "balance=upsample", "patience=3", "stages=64:2:1e-3:16,224:0.5:2e-4:8"]
    )
    assert (changed.drop_path, changed.balance, changed.patience) == (0.1, "upsample", 3)
    assert changed.stages == (Stage(64, 2, 1e-3, 16), Stage(224, 0.5, 2e-4, 8))
    told = describe(asdict(changed))
    assert told["stages"] == "64:2:0.001:16,224:0.5:0.0002:8"
    assert "seed" not in told
    # What the card says can be given again.
    again = Recipe(()).changed(f"{name}={value}" for name, value in told.items())
    assert describe(asdict(again)) == told


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("dropout=0.1", "no setting 'dropout'"),
        ("seed=2", "no setting 'seed'"),
        ("drop_path", "takes a number, not ''"),
        ("drop_path=much", "takes a number, not 'much'"),
        ("drop_path=1.5", "between 0 and 0.9, not 1.5"),
        ("strength=nan", "between 0 and 1.5, not nan"),
        ("patience=1.5", "takes a number, not '1.5'"),
        ("balance=even", "balance is one of weight, upsample, none"),
        ("stages=128:48", "'128:48' is no stage"),
        ("stages=16:1:1e-3:8", "is no stage"),
        ("stages=64:0:1e-3:8", "is no stage"),
        ("stages=64:1:1e-3:1", "is no stage"),
    ],
)
def test_a_bad_setting_is_refused(setting: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        RECIPES["scratch"].changed([setting])
