"""docs/model_table.md says what the code says."""

import pytest
from recipes import BYOT, TABLE, table_rows
from run import failed, succeeded, tool

#: One of three exits, one counted at 224 x 224, and a narrow one.
LIGHT = (
    'byot_wrn20-8_8xb16_cifar100',
    'byot_mobilenet-v2_8xb32_in1k',
    'byot_resnet18_2xb64_digits',
)


def test_numbers_are_those_of_the_networks():
    text = succeeded(tool('make_tables.py', '--check', *LIGHT))
    assert f'model_table.md is right for {LIGHT[0]}' in text


def test_a_wrong_number_is_noticed(tmp_path):
    table = tmp_path / 'table.md'
    table.write_text(TABLE.read_text().replace(' 9,027,200 |', ' 902 |'))
    done = tool('make_tables.py', '--table', table, '--check', LIGHT[-1])
    assert f'is out of date for {LIGHT[-1]}' in failed(done)


@pytest.mark.parametrize('name', BYOT)
def test_every_recipe_has_its_rows(name):
    rows = table_rows(name)
    for numbers in rows.values():
        plain, *exits, ensemble = [n for n in numbers if n is not None]
        assert len(exits) in (3, 4) and len(numbers) == 6
        assert plain == exits[-1]
        assert ensemble > max(exits)
    exits = [n for n in rows['FLOPs'][1:5] if n is not None]
    assert exits == sorted(exits)
