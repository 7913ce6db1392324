import pytest

from deepscope.report._record import cleaned, layer_of, layers_of


@pytest.mark.parametrize("bad", ["\x1b", "\n", "\r", "\x00", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\ud800"])
def test_what_could_act_becomes_visible_everywhere(bad):
    made = cleaned({f"a{bad}": [f"b{bad}", {"c": f"d{bad}"}], "formula": f"e{bad}"})
    text = repr(list(made)) + str(made)
    assert all(bad not in key for key in made)
    assert bad not in made[next(iter(made))][0]
    assert bad not in made[next(iter(made))][1]["c"]
    assert "�" in text or "␛" in text or any(0x2400 <= ord(each) <= 0x2421 for each in text)


def test_a_formula_keeps_its_lines_and_names_keep_their_letters():
    assert cleaned({"formula": "a\nb", "name": "fc1\nשלום層"}) == {"formula": "a\nb", "name": "fc1␊שלום層"}


def test_the_layer_of_a_finding():
    layers = {"conv1": 0, "block.0.fc": 1, "block.1.fc": 2}
    assert layer_of("conv1", layers) == "conv1"
    assert layer_of("block.1.fc.weight", layers) == "block.1.fc"
    assert layer_of("block", layers) == "block.0.fc"
    assert layer_of("", layers) is None
    assert layer_of("elsewhere.weight", layers) is None


def test_layers_are_in_forward_order_and_only_those_that_say_something(builders):
    record = builders["lenet"]()
    record["subject"]["layers"] = ["flatten", *record["subject"]["layers"], "dropout"]
    record["findings"].append(builders["finding"]("warning", "anatomy", "dropout", "It never drops."))
    assert layers_of(record) == [*builders["LENET"], "dropout"]
