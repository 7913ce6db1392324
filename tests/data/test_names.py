from __future__ import annotations

from deepscope.data import IGNORED, names


def test_names_are_padded_as_makemore_does(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(["emma", "bo"] + [f"x{'y' * (i % 3)}" for i in range(18)]))
    data = names.load((tmp_path / "names.txt",))
    assert data.classes == (".", "a", "b", "e", "m", "o", "x", "y")
    rows = {
        tuple(row): target.tolist()
        for part in (data.train, data.test)
        for row, target in zip(part.inputs.tolist(), part.targets, strict=True)
    }
    assert rows[(0, 3, 4, 4, 1)] == [3, 4, 4, 1, 0]
    assert rows[(0, 2, 5, 0, 0)] == [2, 5, 0, IGNORED, IGNORED]


def test_the_split_is_nine_to_one_ignores_the_order_and_keeps_twins_together():
    many = [f"name{i % 900}" for i in range(1000)]
    train, test = names.split(many)
    assert sorted(train + test) == sorted(many)
    assert not set(train) & set(test)
    # At most one name's twin beyond nine tenths.
    assert len(train) in (900, 901)
    assert names.split(many[::-1]) == (train, test)
    assert train != sorted(train)


def test_a_twin_on_the_border_moves_to_the_first_part():
    assert names.split(["same"] * 10) == (["same"] * 10, [])


def test_the_real_names(real):
    data = real("names")
    assert len(data.train) + len(data.test) == 32_033
    assert data.train.inputs.shape[1] == 16
    assert data.classes == tuple(".abcdefghijklmnopqrstuvwxyz")
    # 228,145 bytes are 32,033 names with 32,032 ends of line between them; every name adds one end token.
    letters = 228_145 - 32_032
    assert data.count(data.train.targets) + data.count(data.test.targets) == letters + 32_033
    ends = (data.train.targets == 0).sum(1)
    assert (ends == 1).all()
