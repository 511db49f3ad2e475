"""Zero-shot similarity, thresholds and weak labels make pseudo-labels, as worked by hand."""

import statistics

import pytest
import torch

from mediakit.errors import MediaError, MediakitError
from mediakit.parsing.annotations.classes import CLASS_LISTS
from mediakit.parsing.pseudo_labels.recipe import (
    THRESHOLDS,
    VALOR,
    class_prompts,
    class_thresholds,
    pseudo_labels,
    read_by_class,
    similarity,
)


def test_similarity_is_scale_times_cosine_plus_bias():
    media = torch.tensor([[3.0, 0.0], [2.0, 2.0], [-1.0, 0.0]])  # at 0, 45 and 180 degrees
    text = torch.tensor([[5.0, 0.0], [0.0, 0.1]])  # at 0 and 90
    root = 0.5**0.5
    expected = torch.tensor([[1.0, 0.0], [root, root], [-1.0, 0.0]])
    torch.testing.assert_close(similarity(media, text), expected)
    torch.testing.assert_close(
        similarity(media.expand(2, 3, 2), text, 100.0, -3.0), (100 * expected - 3).expand(2, 3, 2)
    )


def test_pseudo_labels_by_hand():
    values = torch.tensor([[20.1, 9.0, 30.0], [20.0, 11.0, 30.0]])  # 2 seconds, 3 classes
    weak = torch.tensor([1, 1, 0])  # the third class is not in the video, however similar
    found = pseudo_labels(values, weak, torch.tensor([20.0, 10.0, 10.0]))
    assert found.tolist() == [[1, 0, 0], [0, 1, 0]]  # 20.0 is not above 20
    assert found.dtype == torch.uint8
    assert pseudo_labels(values, weak, 15).tolist() == [[1, 0, 0], [1, 0, 0]]
    batch = pseudo_labels(torch.stack([values, values]), torch.tensor([[1, 1, 0], [0, 0, 1]]), 15)
    assert batch.tolist() == [[[1, 0, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 1]]]


def test_what_does_not_fit_is_refused():
    values = torch.zeros(2, 3)
    with pytest.raises(ValueError, match=r"weak must be \(\.\.\., K\)"):
        pseudo_labels(values, torch.ones(2, 3), 0.0)
    with pytest.raises(ValueError, match=r"threshold must be a number or \(K,\) = \(3,\), got \(2,\)"):
        pseudo_labels(values, torch.ones(3), torch.zeros(2))
    values[1, 2] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        pseudo_labels(values, torch.ones(3), 0.0)


def test_the_classes_of_llp_are_prompted_as_valor_prompts_them():
    assert tuple(VALOR) == CLASS_LISTS["llp"]
    seen = class_prompts(CLASS_LISTS["llp"], "visual")
    heard = class_prompts(CLASS_LISTS["llp"], "audio")
    assert seen[0] == "A photo of people talking."
    assert seen[16] == "A photo of an accordion."
    assert heard[5] == "This is a sound of frying (food)"
    assert heard[22] == "This is a sound of baby cry, infant cry"


def test_other_classes_are_prompted_by_their_names():
    assert class_prompts(["Church_bell", "Dog"], "audio") == (
        "This is a sound of church bell",
        "This is a sound of dog",
    )
    assert class_prompts(["Church_bell"], "visual") == ("A photo of Church bell.",)
    assert class_prompts(["Dog", "Cow"], "visual", "a {label}!") == ("a Dog!", "a Cow!")
    assert class_prompts(["Dog", "Cow"], "visual", {"Cow": "moo"}) == ("A photo of a dog.", "moo")
    assert class_prompts(["Speech"], "audio", "hear {label}") == ("hear speech",)  # whose words are one's own
    with pytest.raises(MediakitError, match=r"'a photo' lacks \{label\}"):
        class_prompts(["Dog"], "visual", "a photo")
    with pytest.raises(MediakitError, match=r"name a class 'Cwo' that is not among Dog, Cow"):
        class_prompts(["Dog", "Cow"], "visual", {"Cwo": "moo"})


def test_thresholds():
    for modality, default in THRESHOLDS.items():
        assert statistics.median(getattr(row, modality) for row in VALOR.values()) == default
    assert class_thresholds(["Speech", "Cow", "Frying_(food)"], "visual") == (20.0, 15.0, 18.0)
    assert class_thresholds(["Speech", "Cow", "Frying_(food)"], "audio") == (0.0, 2.0, -2.0)
    assert class_thresholds(["Speech", "Cow"], "audio", 7) == (7.0, 7.0)
    assert class_thresholds(["Speech", "Cow"], "visual", {"Cow": 3.5}) == (20.0, 3.5)
    with pytest.raises(MediakitError, match="name a class 'Pig'"):
        class_thresholds(["Speech", "Cow"], "visual", {"Pig": 3.5})
    with pytest.raises(MediakitError, match="must be finite"):
        class_thresholds(["Speech"], "visual", float("nan"))


def test_values_by_class_from_a_file(tmp_path):
    path = tmp_path / "values.json"
    path.write_text('{"Speech": 20, "Dog": 14.5}')
    assert read_by_class(path, float) == {"Speech": 20.0, "Dog": 14.5}
    with pytest.raises(MediaError, match="holds no sentences by class"):
        read_by_class(path, str)
    path.write_text('{"Dog": "a dog"}')
    assert read_by_class(path, str) == {"Dog": "a dog"}
    for text in ("{", "[1]", '{"Dog": true}'):
        path.write_text(text)
        with pytest.raises(MediaError, match=r"is no JSON|holds no thresholds by class"):
            read_by_class(path, float)
