import pytest

from mediakit import option_types


def test_epochs():
    assert option_types.epochs("30") == 30
    assert option_types.epochs("30,20,10") == [30, 20, 10]
    for wrong in ("0", "3,", "many"):
        with pytest.raises(ValueError):
            option_types.epochs(wrong)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("lr=1e-3", ("lr", 0.001)),
        ("label-folders=true", ("label_folders", True)),
        ("shares=[0.5,0.3,0.2]", ("shares", [0.5, 0.3, 0.2])),
        ("cache=null", ("cache", None)),
        ("gray_encoder=resnet34", ("gray_encoder", "resnet34")),
        ("annotations=a=b.csv", ("annotations", "a=b.csv")),
    ],
)
def test_settings(text, pair):
    assert option_types.setting(text) == pair


@pytest.mark.parametrize("text", ["lr", "=3", "lr="])
def test_settings_need_a_name_and_a_value(text):
    with pytest.raises(ValueError):
        option_types.setting(text)


def test_shares():
    assert [option_types.share(text) for text in ("0", "0.25", "1")] == [0, 0.25, 1]
    for wrong in ("-0.1", "1.01", "nan", "half"):
        with pytest.raises(ValueError):
            option_types.share(wrong)


def test_every_type_is_named_in_words():
    for name in ("positive", "amount", "rate_factor", "features", "words", "threshold", "epochs", "setting", "share"):
        assert " " in getattr(option_types, name).__name__
