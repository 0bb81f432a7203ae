"""The captioned world: its grammar, its words as tokens, and what it leaves out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from vswap_toybox.rendering import render
from vswap_toybox.training import world
from vswap_toybox.training.models import TOKENS, token_ids, write_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_what_is_drawn_has_a_caption_of_the_grammar() -> None:
    known = set(world.captions())
    assert len(known) == len(world.looks()) * 15
    for seed in range(60):
        assert world.sample(np.random.default_rng(seed), 4).caption in known


def test_no_training_picture_shows_an_unseen_look() -> None:
    for name, colour, pattern in world.UNSEEN:
        words = [colour, name] if pattern == "plain" else [pattern, colour, name]
        assert not any(caption.startswith(f"a {' '.join(words)} ") for caption in world.captions())
    assert world.CONCEPT.colour not in world.COLOUR_NAMES
    assert world.CONCEPT.pattern not in world.PATTERNS
    assert not world.HEIGHT[0] <= world.CONCEPT.height <= world.HEIGHT[1]


def test_every_class_and_colour_is_seen_in_both_patterns() -> None:
    for name in world.CLASSES:
        assert {(look[0], look[2]) for look in world.looks()} >= {(name, pattern) for pattern in world.PATTERNS}
    assert {look[1] for look in world.looks()} == set(world.COLOUR_NAMES)


def test_every_word_is_one_token(tokenizer: Any) -> None:
    for word in world.WORDS:
        assert len(tokenizer(word).input_ids) == 3, word
    for caption in world.captions()[::7]:
        ids = tokenizer(caption).input_ids
        assert len(ids) == len(caption.split()) + 2
        assert tokenizer.decode(ids, skip_special_tokens=True).strip() == caption


def test_other_words_are_spelt_and_padding_is_the_end(tokenizer: Any) -> None:
    assert len(tokenizer("zebra").input_ids) > 3
    ids = token_ids(tokenizer, ["a red car", ""])
    assert ids.shape == (2, TOKENS)
    assert set(ids[0, 4:].tolist()) == {tokenizer.eos_token_id}


def test_the_tokenizer_is_the_same_each_time(tokenizer: Any, tmp_path: Path) -> None:
    again = write_tokenizer(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab()


def test_the_wide_world_has_colours_that_no_name_has() -> None:
    takes = [world.sample_wide(np.random.default_rng(seed)) for seed in range(20)]
    palettes = np.stack([take.subject.palette for take in takes])
    assert palettes.shape == (20, 5, 3)
    assert palettes.min() < 0.05
    assert palettes.max() > 0.95
    assert palettes[:, 2].std() > 0.15
    picture = render(takes[0].subject, takes[0].scene, takes[0].motion, (32, 32))
    assert picture.frames.shape == (1, 32, 32, 3)


def test_the_same_seed_draws_the_same_picture() -> None:
    first, second = (world.sample_picture(np.random.default_rng((1, 2))) for _ in range(2))
    assert first.subject == second.subject
    frames = [render(take.subject, take.scene, take.motion, (32, 32)).frames for take in (first, second)]
    assert np.array_equal(*frames)
