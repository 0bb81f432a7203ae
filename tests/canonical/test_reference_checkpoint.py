"""Atlases of the reference implementation, read and refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from vswap_canonical.reference.checkpoint import REFERENCE_NAMES, read_reference_checkpoint, settings_of_reference
from vswap_canonical.reference.networks import NetworkSettings, ReferenceNetworks
from vswap_kernel.errors import InputError

SMALL = {
    "foreground_mapping": NetworkSettings(4, 24, 2, (2,)),
    "foreground_inverse": NetworkSettings(3, 24),
    "background_mapping": NetworkSettings(3, 16),
    "atlas": NetworkSettings(4, 32, 5, (2, 3)),
    "opacity": NetworkSettings(4, 24, 3),
}


def seeded(seed: int) -> ReferenceNetworks:
    torch.manual_seed(seed)
    return ReferenceNetworks(SMALL)


def reference_file(path: Path, change: Callable[[dict], object] = lambda state: None) -> Path:
    networks = seeded(3)
    state: dict = {
        theirs: {key: value.clone() for key, value in networks.get_submodule(name).state_dict().items()}
        for name, theirs in REFERENCE_NAMES.items()
    }
    state["iteration"] = 7
    change(state)
    torch.save(state, path)
    return path


def test_a_checkpoint_s_networks_are_told_by_their_shapes(tmp_path: Path) -> None:
    networks = read_reference_checkpoint(reference_file(tmp_path / "atlas.pth"))
    assert networks.settings == SMALL
    places = torch.rand(9, 3) * 2 - 1
    torch.testing.assert_close(networks.opacity(places), seeded(3).opacity(places), rtol=0, atol=0)


BROKEN = {
    "missing": (lambda state: state.pop("F_Alpha"), r"lacks F_Alpha; give the \.pth"),
    "other": (lambda state: state.clear(), r"not an atlas of the reference"),
    "hash": (
        lambda state: state["F_Atlas"].update({"encoder.params": torch.zeros(8)}),
        r"F_Atlas: 'encoder\.params' can't be read \(hash .* tiny-cuda-nn\)",
    ),
    "width": (
        lambda state: state["F_Alpha"].update({"hidden.1.weight": torch.zeros(24, 7)}),
        r"F_Alpha\.hidden\.1\.weight: expected \[24, 24\], got \[24, 7\]",
    ),
    "inputs": (
        lambda state: state["F_Alpha"].update({"hidden.0.weight": torch.zeros(24, 7)}),
        r"F_Alpha takes 7 values, which no encoding makes of 3 coordinates",
    ),
    "layer": (
        lambda state: state["BG_UV_Mapping"].pop("hidden.1.weight"),
        r"BG_UV_Mapping has no weights hidden\.0\.weight",
    ),
    "bias": (
        lambda state: state["BG_UV_Mapping"].pop("hidden.1.bias"),
        r"BG_UV_Mapping\.hidden\.1\.bias: expected \[16\], got none",
    ),
    "code": (lambda state: state.update(run=SMALL["atlas"]), "holds more than tensors"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_checkpoint_that_can_t_be_used_is_one_clear_line(tmp_path: Path, name: str) -> None:
    change, message = BROKEN[name]
    with pytest.raises(InputError, match=message) as caught:
        read_reference_checkpoint(reference_file(tmp_path / "atlas.pth", change))
    assert str(caught.value).startswith(str(tmp_path / "atlas.pth"))
    assert "\n" not in str(caught.value)


def test_no_checkpoint_and_no_pth_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.pth: can't be read"):
        read_reference_checkpoint(tmp_path / "nothing.pth")
    (tmp_path / "notes.pth").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.pth: "):
        read_reference_checkpoint(tmp_path / "notes.pth")


def test_other_settings_than_the_file_s_are_refused(tmp_path: Path) -> None:
    wider = {**SMALL, "atlas": replace(SMALL["atlas"], width=64)}
    with pytest.raises(InputError, match=r"F_Atlas\.hidden\.0\.bias: expected \[64\], got \[32\]"):
        read_reference_checkpoint(reference_file(tmp_path / "atlas.pth"), wider)


def test_described_networks_of_a_kind_that_can_t_be_read_are_refused() -> None:
    plain = {"hidden_dim": 8, "pe_type": "none", "pe_dim": 4, "mlp_type": "origin", "mlp_layers": 3, "skip_layers": []}
    options = dict.fromkeys(REFERENCE_NAMES.values(), plain)
    assert settings_of_reference(options)["opacity"] == NetworkSettings(3, 8)
    with pytest.raises(InputError, match=r"F_Atlas: pe_type hash_encoding, .* tiny-cuda-nn"):
        settings_of_reference({**options, "F_Atlas": {**plain, "pe_type": "hash_encoding"}})
    with pytest.raises(InputError, match="F_Alpha: not described"):
        settings_of_reference({name: of for name, of in options.items() if name != "F_Alpha"})
