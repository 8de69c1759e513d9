"""Worklist lines: what they may say, and errors that name line and key."""

import json

import pytest
from asyncdiff_api.formats.blocks import Blocking, BlockUnit
from asyncdiff_api.formats.errors import WorklistLineError
from asyncdiff_api.formats.exit_codes import ExitCode
from asyncdiff_api.formats.items import choices_of_blocks, count_items, lines_of_prompts
from asyncdiff_api.formats.lines import lines_of_blocks
from asyncdiff_api.formats.worklist import (
    Position,
    WorklistLine,
    inputs_of,
    parse_line,
    parse_lines,
    parse_whole,
    seeds_of,
)
from asyncdiff_api.generate import Generate, Inputs, Seeds
from hypothesis import given
from hypothesis import strategies as st

FIRST = Position(block=0, line=1)


def test_a_line_may_say_all_that_generate_says() -> None:
    said = {
        "prompt": "a fox",
        "id": "row-7",
        "seed": 2**64 - 1,
        "negativePrompt": "blurry",
        "image": "s3://in/fox.png",
        "mask": "s3://in/mask.png",
        "control": "s3://in/edges.png",
        "reference": "s3://in/style.png",
        "video": "s3://in/fox.mp4",
        "width": 768,
        "height": 1024,
        "frames": 16,
        "fps": 8,
        "steps": 30,
        "guidanceScale": 5,
        "scheduler": {"class": "EulerDiscreteScheduler", "config": {"timestep_spacing": "trailing"}},
        "options": {"eta": 0.5, "clip_skip": None},
        "labels": {"customer": "north", "score": 0.5, "kept": True},
    }
    line = parse_line(json.dumps(said).encode(), FIRST)
    assert line.model_dump(by_alias=True) == said


def test_every_field_of_generate_has_its_place_in_a_line() -> None:
    elsewhere = {"prompts", "worklist", "seeds", "inputs"}
    assert set(Generate.model_fields) - elsewhere | set(Inputs.model_fields) <= set(WorklistLine.model_fields)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"promt": "a fox"}', "has an unknown key promt; did you mean prompt?"),
        (
            '{"prompt": "a", "negative_prompt": "b"}',
            "has an unknown key negative_prompt; did you mean negativePrompt?",
        ),
        ('{"prompt": "a", "cfg": 5}', "has an unknown key cfg; the known keys are prompt, id, seed"),
        ('{"prompt": "a", "guidance": 5}', "did you mean guidanceScale?"),
        (
            '{"prompt": 7}',
            'prompt must be text of at most 16384 characters; found the number 7; put it in quotes: "7"',
        ),
        ('{"prompt": "a", "seed": "7"}', 'found the text "7"; write 7 without quotes'),
        (
            '{"prompt": "a", "seed": -1}',
            "seed must be an integer from 0 to 18446744073709551615; found the number -1",
        ),
        ('{"prompt": "a", "seed": 18446744073709551616}', "seed must be an integer from 0 to"),
        ('{"prompt": "a", "seed": 7.0}', "seed must be an integer from 0 to"),
        ('{"prompt": "a", "seed": true}', "found true"),
        ('{"prompt": "a", "width": 1001}', "width must be a multiple of 8; found the number 1001"),
        ('{"prompt": "a", "steps": 0}', "steps must be an integer from 1 to 1000; found the number 0"),
        ('{"prompt": "a", "guidanceScale": NaN}', "holds NaN, which is no JSON; write a number or null"),
        ('{"prompt": "a", "options": {"eta": -Infinity}}', "holds -Infinity"),
        ('{"prompt": "a", "labels": {"score": NaN}}', "holds NaN"),
        ('{"prompt": "a" NaN', "is not JSON"),
        ('{"prompt": "a", "image": "/etc/passwd"}', "image must be an s3:// or https:// address"),
        (
            '{"prompt": "a", "scheduler": {"clas": "X"}}',
            "has an unknown key scheduler.clas; did you mean class?",
        ),
        ('{"prompt": "a", "scheduler": {"class": 7}}', "scheduler.class must be the name of a class"),
        (
            '{"prompt": "a", "labels": []}',
            "labels must be a mapping of at most 64 keys; found a list of 0 entries",
        ),
        ('["a fox"]', 'must be a JSON object, such as {"prompt": "a fox"}; found a list of 1 entry'),
        ('"a fox"', 'must be a JSON object, such as {"prompt": "a fox"}; found the text "a fox"'),
        ("a fox", "is not JSON"),
        ('{"prompt": "a fox"', "is not JSON"),
        ('{"prompt": "\\ud800"}', "is not JSON"),
    ],
)
def test_a_bad_line_is_refused_by_line_and_key(text: str, words: str) -> None:
    with pytest.raises(WorklistLineError) as caught:
        parse_line(text.encode(), Position(block=0, line=12))
    assert str(caught.value).startswith("line 12 of the worklist: ")
    assert words in str(caught.value)
    assert caught.value.exit_code is ExitCode.BAD_LINES


def test_words_that_look_like_constants_are_words() -> None:
    assert parse_line(b'{"prompt": "Infinity and NaN"}', FIRST).prompt == "Infinity and NaN"


def test_a_line_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(WorklistLineError, match="is not JSON"):
        parse_line(b'{"prompt": "caf\xe9"}', FIRST)


def test_a_bad_line_of_a_large_file_is_named_by_block_and_byte() -> None:
    content = b'{"prompt": "a"}\n{"promt": "b"}\n'
    blocking = Blocking(unit=BlockUnit.BYTES, size=1024, total=len(content))
    lines = lines_of_blocks(lambda start, stop: content[start:stop], range(1), blocking)
    with pytest.raises(
        WorklistLineError, match=r"^line 2 of block 0 of the worklist \(byte 16\): has an unknown key"
    ):
        list(parse_lines(lines))


def test_blank_lines_are_passed_over_and_counted() -> None:
    content = b'\xef\xbb\xbf{"prompt": "a"}\r\n\r\n   \n{"prompt": "b"}'
    assert [(number, line.prompt) for number, line in parse_whole(content)] == [(1, "a"), (4, "b")]
    blocking = Blocking(unit=BlockUnit.BYTES, size=1024, total=len(content))
    lines = lines_of_blocks(lambda start, stop: content[start:stop], range(1), blocking)
    assert [(position.line, line.prompt) for position, line in parse_lines(lines)] == [(1, "a"), (4, "b")]


def test_a_line_with_a_seed_is_one_item_and_one_without_is_one_for_each_seed_of_the_job() -> None:
    generate = Generate(seeds=Seeds(start=5, count=3))
    assert list(seeds_of(WorklistLine(prompt="a"), generate)) == [5, 6, 7]
    assert list(seeds_of(WorklistLine(prompt="a", seed=0), generate)) == [0]


def test_the_inputs_of_a_line_stand_before_those_of_the_job() -> None:
    generate = Generate(inputs=Inputs(image="s3://job/a.png", mask="s3://job/m.png"))
    line = WorklistLine(image="s3://line/a.png")
    assert inputs_of(line, generate) == {"image": "s3://line/a.png", "mask": "s3://job/m.png"}


@given(
    seeds=st.lists(st.none() | st.integers(0, 99), max_size=12),
    count=st.integers(1, 7),
    size=st.integers(1, 9),
)
def test_every_item_of_prompts_and_seeds_is_in_exactly_one_block_in_order(
    seeds: list[int | None], count: int, size: int
) -> None:
    generate = Generate(seeds=Seeds(start=10, count=count))
    lines = [
        (number, WorklistLine(prompt=str(number), seed=seed)) for number, seed in enumerate(seeds, start=1)
    ]
    total = count_items(lines, generate)
    blocking = Blocking(unit=BlockUnit.ITEMS, size=size, total=total)
    items = [
        (position, line.prompt, seed)
        for block in range(blocking.count)
        for position, line, seed in choices_of_blocks(lines, generate, range(block, block + 1), blocking)
    ]
    wanted = [(number, line.prompt, seed) for number, line in lines for seed in seeds_of(line, generate)]
    assert [(position.line, prompt, seed) for position, prompt, seed in items] == wanted
    assert [position.block for position, _, _ in items] == [at // size for at in range(total)]


def test_inline_prompts_are_lines_numbered_from_one() -> None:
    assert [(number, line.prompt) for number, line in lines_of_prompts(("a", "b"))] == [(1, "a"), (2, "b")]
