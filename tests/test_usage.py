"""What a mistyped command line of `mediakit fit` is answered: one line that names it, and the nearest that there is."""

import pytest

from mediakit.cli import main
from mediakit.usage import explain

DATA = "`mediakit fit --data.help mediakit.deepfake.data.DeepfakeDataModule` lists the options."
MODEL = "`mediakit fit --model.help mediakit.deepfake.module.DeepfakeModule` lists the options."
ALL = "`mediakit fit --help` lists the options."
NO_FILE = "there is no such file, and no such recipe (colorize, deepfake, parsing)."


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--data.rot X", f"fit has no option --data.rot. Did you mean --data.root? {DATA}"),
        ("--data.root X --dat.root Y", f"fit has no option --dat.root. Did you mean --data.root? {ALL}"),
        ("--data.root X --lr 1", f"fit has no option --lr. Did you mean --model.lr? {ALL}"),
        ("--data.root X --model.init_args.lrr 1", f"fit has no option --model.lrr. Did you mean --model.lr? {MODEL}"),
        ("--data.root X --data.xyzzy=1", f"fit has no option --data.xyzzy. {DATA}"),
        (
            "--data.root X --trainer.max_epoch 3",  # no abbreviation either
            f"fit has no option --trainer.max_epoch. Did you mean --trainer.max_epochs? {ALL}",
        ),
        (
            "--data.root X --trainer.logger.save_di Y",
            "fit has no option --trainer.logger.save_di. Did you mean --trainer.logger.save_dir? `mediakit fit "
            "--trainer.logger.help pytorch_lightning.loggers.CSVLogger` lists the options.",
        ),
        (
            "--data.root X --data.pseudo_fakes onyl",
            f"--data.pseudo_fakes takes only, also or none, not 'onyl'. Did you mean only? {DATA}",
        ),
        ("--data.root X --model.lr abc", f"--model.lr takes a number, not 'abc'. {MODEL}"),
        (
            "--data.root X --trainer.max_epochs=many",
            f"--trainer.max_epochs takes a whole number or null, not 'many'. {ALL}",
        ),
        (
            "--data.root X --data.methods Face2Face",
            f"--data.methods takes a list such as [a,b] or null, not 'Face2Face'. {DATA}",
        ),
        ("--data.workers 2", f"fit needs --data.root. {DATA}"),
        ("--data.workers 2 --data.root", f"--data.root needs a value. {ALL}"),
        (
            "deepfake --data.root X",
            f"fit does not know what to do with 'deepfake': a recipe is given as --config NAME. {ALL}",
        ),
        (
            "--data.root X --model mediakit.deepfake.module.DeepfakeModul",
            "--model mediakit.deepfake.module.DeepfakeModul: module 'mediakit.deepfake.module' has no attribute "
            "'DeepfakeModul'. Did you mean mediakit.deepfake.module.DeepfakeModule?",
        ),
    ],
)
def test_a_slip_is_told_in_one_line(words, line, capfd):
    assert main(["fit", "--config", "deepfake", *words.split()]) == 2
    assert capfd.readouterr() == ("", f"mediakit: {line}\n")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            "--data.root X",
            "--data.root is for a class: name it by --data CLASS, or a recipe by --config NAME. "
            "`mediakit fit --data.help mediakit.base.BaseDataModule` lists the options.",
        ),
        ("", f"fit needs --data CLASS, or a recipe by --config NAME. {ALL}"),
        (
            "--config deepfak --data.root X",
            f"--config deepfak: {NO_FILE} Did you mean deepfake?",
        ),
        (
            "-c=gone.yaml",
            f"--config gone.yaml: {NO_FILE}",
        ),
    ],
)
def test_without_a_recipe(words, line, capfd):
    assert main(["fit", *words.split()]) == 2
    assert capfd.readouterr() == ("", f"mediakit: {line}\n")


def test_slips_in_a_file_of_settings(tmp_path, capfd):
    for content, line in (
        ("trainer: {max_epoch: 3}", "fit has no option --trainer.max_epoch. Did you mean --trainer.max_epochs?"),
        ("trainer: [", "fit: Problems parsing config: "),
    ):
        (tmp_path / "mine.yaml").write_text(content)
        assert main(["fit", "--config", "deepfake", "--config", str(tmp_path / "mine.yaml"), "--data.root", "X"]) == 2
        (told,) = capfd.readouterr().err.splitlines()
        assert told.startswith(f"mediakit: {line}")


def test_other_commands_name_themselves(capfd):
    assert main(["test", "--confg", "deepfake"]) == 2
    told = capfd.readouterr().err.splitlines()[-1]
    options = "`mediakit test --help` lists the options."
    assert told == f"mediakit: test has no option --confg. Did you mean --config? {options}"


def test_what_works_still_does(capfd):
    for words, known in (
        ("--config deepfake --print_config", "class_path: mediakit.deepfake.data.DeepfakeDataModule"),
        ("--help", "--trainer.max_epochs MAX_EPOCHS"),
        ("--data.help mediakit.deepfake.data.DeepfakeDataModule", "--data.root ROOT"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["fit", *words.split()])
        assert stopped.value.code == 0
        assert known in capfd.readouterr().out


OLD = """Parser key "data":
  Does not validate against any of the Union subtypes
  Subtypes: (<class 'mediakit.base.BaseDataModule'>, <class 'NoneType'>)
  Errors:
    - Problem with given class_path 'mediakit.deepfake.DeepfakeDataModule':
        Validation failed: {}
    - Expected a <class 'NoneType'>
  Given value type: <class 'jsonargparse._util.NestedArg'>
  Given value: NestedArg(key='rot', val='X')"""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (OLD.format("Key 'rot' is not expected"), "fit has no option --data.rot. Did you mean --data.root?"),
        (
            OLD.format('Key "root" is required but not included in config object or its value is None.'),
            "fit needs --data.root.",
        ),
        (
            "Validation failed: Subcommand 'fit' does not accept nested key 'trainer.max_epoch'",
            "fit has no option --trainer.max_epoch. Did you mean --trainer.max_epochs?",
        ),
        ("Unrecognized arguments: --print_confi", "fit has no option --print_confi. Did you mean --print_config?"),
        ("something\n  quite new", "fit: something quite new."),
    ],
)
def test_texts_of_other_versions(text, line):
    """As jsonargparse 4.35 has them, and one that none has."""
    assert explain(text, ["fit"]).startswith(line)
