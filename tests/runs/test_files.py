import math

import numpy as np
import pytest
import torch

from heed.errors import HeedError
from heed.runs.files import append_line, drop_torn_line, read_lines, read_metrics, replacing, to_json, write_whole


def test_arrays_tensors_and_numpy_scalars_become_plain_numbers():
    value = {"a": np.float32(0.5), "b": torch.tensor([[1.0, float("inf")]]), "c": np.arange(2), "d": True}
    assert to_json(value) == {"a": 0.5, "b": [[1.0, None]], "c": [0, 1], "d": True}


def test_what_was_appended_is_read(tmp_path):
    append_line(tmp_path / "a.jsonl", {"step": 1, "text": "ä\n</script>"})
    append_line(tmp_path / "a.jsonl", {"step": 2})
    assert read_lines(tmp_path / "a.jsonl") == [{"step": 1, "text": "ä\n</script>"}, {"step": 2}]


def test_an_absent_file_reads_as_empty(tmp_path):
    assert read_lines(tmp_path / "a.jsonl") == []


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_skipped_wherever_it_tears(tmp_path, cut):
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1, "kl": 0.5}\n' + b'{"step": 2, "kl": 0.6}'[:cut])
    assert read_metrics(tmp_path) == [{"step": 1, "kl": 0.5}]


def test_a_multibyte_character_torn_in_two_is_skipped(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"step": 1}\n{"t": "' + "ä".encode()[:1])
    assert read_lines(file) == [{"step": 1}]


def test_a_malformed_line_before_the_last_is_named(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"step": 1}\n{"step": \n{"step": 3}\n')
    with pytest.raises(HeedError, match=r"a\.jsonl:2"):
        read_lines(file)


def test_a_line_that_is_no_object_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text("[1]\n{}\n")
    with pytest.raises(HeedError, match=r"a\.jsonl:1"):
        read_lines(tmp_path / "a.jsonl")


def test_a_value_that_was_not_finite_reads_as_nan(tmp_path):
    append_line(tmp_path / "metrics.jsonl", {"step": 1, "kl": math.inf})
    assert math.isnan(read_metrics(tmp_path)[0]["kl"])


def test_the_line_after_a_torn_one_starts_anew(tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"step": 1}\n{"st')
    drop_torn_line(file)
    append_line(file, {"step": 2})
    assert read_lines(file) == [{"step": 1}, {"step": 2}]


def test_a_failed_write_leaves_the_old_content_and_no_debris(tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    write_whole(file, "old")
    monkeypatch.setattr("os.fsync", _refuse)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert file.read_text() == "old"


def test_a_file_takes_the_place_of_another_only_once_it_is_whole(tmp_path):
    file = tmp_path / "a.bin"
    with replacing(file) as new:
        new.write(b"old")
        assert not file.exists()
    with pytest.raises(ValueError, match="half"), replacing(file) as new:
        new.write(b"n")
        raise ValueError("half of it")
    assert file.read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    with replacing(file) as new:
        new.write(b"new")
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"


def _refuse(descriptor):
    raise OSError(28, "No space left on device")
