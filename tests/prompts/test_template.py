import numpy as np
import pytest

from napo.errors import UserError
from napo.models.tiny import make_tokenizer
from napo.models.tokens import title_tokens
from napo.prompts.template import FOLDER, Template, load_template, parse_template
from napo.scoring.batch import Row, pack
from napo.scoring.tree import PrefixTree

# what might merge with the words before it, were it tokenized together with them
EDGES = ["$9.99", "1984", "'Til Dawn", " Leading space", "...And Justice", "Title", "Alien", "Aliens"]


def tokenizer(*texts: str, vocabulary: int = 400):
    return make_tokenizer(EDGES, [*texts, *(f"{text}{title}" for text in texts for title in EDGES)], vocabulary)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_a_shipped_template_can_be_read_and_is_named_after_its_kind(path):
    template = load_template(path.stem)
    assert template.kind == path.stem
    assert template.header


def test_a_next_prompt_that_ends_with_the_history_leaves_it_open():
    assert parse_template("Liked:\n{history}\n") == Template("next", "Liked:\n", "", "")
    assert parse_template("Liked: {history}. Next:") == Template("next", "Liked: ", "", ". Next:")


def test_a_list_prompt_has_words_before_between_and_after():
    parsed = parse_template("Liked: {history} Of: {candidates} Answer: ")
    assert parsed == Template("list", "Liked: ", " Of: ", " Answer: ")
    assert parsed.texts == ["Liked: ", " Of: ", " Answer: "]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Liked: {histroy}", "history"),
        ("Liked", "once"),
        ("{candidates} {history}", "order"),
        ("{history} {history}", "order"),
        ("Liked: {history}{candidates}", "between"),
    ],
)
def test_a_template_that_can_not_work_is_refused_with_the_way_out(text, word):
    with pytest.raises(UserError, match=word) as caught:
        parse_template(text, where="my.txt")
    assert "my.txt" in str(caught.value)


def test_an_unknown_template_is_answered_with_the_known_ones():
    with pytest.raises(UserError, match="no prompt template 'nxt'") as caught:
        load_template("nxt")
    assert "`next`" in caught.value.remedy


def test_a_template_of_ones_own_is_a_path(tmp_path):
    (tmp_path / "mine.txt").write_bytes(b"\xef\xbb\xbfSeen:\r\n{history}\r\n")
    assert load_template(str(tmp_path / "mine.txt")) == Template("next", "Seen:\n", "", "")


def test_a_template_in_another_encoding_is_named(tmp_path):
    (tmp_path / "mine.txt").write_bytes(b"Aim\xe9: {history}")
    with pytest.raises(UserError, match="UTF-8, at byte 3"):
        load_template(str(tmp_path / "mine.txt"))


@pytest.mark.parametrize("text", ["Liked: {history}\nAnswer: ", "Liked: {history}\nAnswer:", "Liked:{history}"])
def test_no_token_crosses_the_border_of_prompt_and_title(text):
    template = parse_template(text)
    tokens = tokenizer(*template.texts)
    frame, titles = template.frame(tokens), title_tokens(tokens, EDGES)
    tree = PrefixTree.build(titles, tokens.eos_token_id)
    alone = [tokens(part, add_special_tokens=False)["input_ids"] for part in template.texts]
    assert [tokens.bos_token_id, *np.concatenate(alone)] == [*frame.header, *frame.tail]

    # the same prompt before each title, and each title's tokens are those of the tree
    for item, title in enumerate(titles):
        batch = pack([Row(np.array([5]), branches=np.array([item]), sees=np.array([1]))], tree, frame, "vocabulary")
        prompt = [*frame.header, *titles[5], *frame.tail]
        assert batch.input_ids[0].tolist() == [*prompt, *title[:-1]]
        assert batch.target.tolist() == title


def test_the_end_token_is_scored_so_that_a_title_of_n_tokens_has_n_plus_one_places():
    tokens = tokenizer("Liked: ")
    tree = PrefixTree.build(title_tokens(tokens, EDGES), tokens.eos_token_id)
    batch = pack(
        [Row(np.arange(8), scored=np.arange(8))], tree, parse_template("Liked: {history}").frame(tokens), "vocabulary"
    )
    lengths = [len(tokens(title, add_special_tokens=False)["input_ids"]) for title in EDGES]
    assert batch.lengths.tolist() == [length + 1 for length in lengths]
    ends = batch.lengths.cumsum(0) - 1
    assert (batch.target[ends] == tokens.eos_token_id).all()


def test_a_prompt_of_nothing_begins_with_the_begin_token():
    tokens = tokenizer("Liked: ")
    assert parse_template("{history}").frame(tokens).header.tolist() == [tokens.bos_token_id]


def test_what_is_said_of_each_item_stands_after_a_colon():
    parsed = parse_template("Liked:\n{history: {title} ({genre}, {release year})}\nOf {candidates:{title}: }\nNext: ")
    assert (parsed.history, parsed.candidates) == ("{title} ({genre}, {release year})", "{title}:")
    assert parsed.texts == ["Liked:\n", "\nOf ", "\nNext: "]
    assert parsed.columns == ["genre", "release year"]
    assert parse_template("Liked: {history: {title}}") == parse_template("Liked: {history}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("Liked: {history: films}", "the same of every item"),
        ("Liked: {history: }", "the same of every item"),
        ("Liked: {title} ({genre})", r"unknown field \{title\}"),
    ],
)
def test_a_line_that_can_not_work_is_refused(text, word):
    with pytest.raises(UserError, match=word) as caught:
        parse_template(text, where="my.txt")
    assert "{history: {title}" in caught.value.remedy


TITLES = ["Alien", "Heat"]
GENRES = {"genre": ["Horror", "</s> Crime"]}


def framed(text: str):
    tokens = tokenizer("Liked: ", "horror crime ()")
    tree = PrefixTree.build(title_tokens(tokens, TITLES), tokens.eos_token_id)
    return tokens, tree, parse_template(text).frame(tokens, TITLES, tree.titles, GENRES)


def alone(tokens, text: str) -> list[int]:
    return tokens(text, add_special_tokens=False)["input_ids"]


def test_a_line_that_begins_with_the_title_has_its_very_tokens_and_the_rest_behind_its_end():
    tokens, _, frame = framed("Liked: {history: {title} ({genre})}")
    end = tokens.eos_token_id
    for item, (title, genre) in enumerate(zip(TITLES, GENRES["genre"], strict=True)):
        said = frame.history.of(np.array([item])).tolist()
        assert said == [*alone(tokens, title), end, *alone(tokens, f" ({genre})"), end]
    assert frame.open
    assert frame.listed is None


def test_a_line_with_words_before_the_title_is_one_text_and_its_title_can_not_be_scored_in_it():
    tokens, tree, frame = framed("Liked: {history: {genre}: {title}}")
    assert frame.history.of(np.array([0])).tolist() == [*alone(tokens, "Horror: Alien"), tokens.eos_token_id]
    assert not frame.open
    rows = [Row(np.array([0]), branches=np.array([1]), sees=np.array([1]))]
    batch = pack(rows, tree, frame, "vocabulary")
    assert batch.target.tolist() == tree.title(1).tolist()  # what is scored is the title, whatever the history says


def test_candidates_may_be_said_otherwise_than_the_history():
    tokens, tree, frame = framed("Liked: {history} of {candidates: {title} [{genre}]} next: ")
    assert frame.history is None
    end, pairs = tokens.eos_token_id, zip(TITLES, GENRES["genre"], strict=True)
    listed = [[*alone(tokens, title), end, *alone(tokens, f" [{genre}]"), end] for title, genre in pairs]
    row = Row(np.array([0]), branches=np.array([1]), sees=np.array([1]), listed=np.array([1, 0]))
    batch = pack([row], tree, frame, "vocabulary")
    main = batch.input_ids[0, : batch.input_ids.shape[1] - len(tree.title(1)) + 1].tolist()
    assert main == [*frame.header, *tree.title(0), *frame.middle, *listed[1], *listed[0], *frame.tail]


def test_a_tokenizer_may_learn_from_what_is_said_beside_titles():
    assert parse_template("{history: {title} ({genre})}").said(TITLES, GENRES) == [" (Horror)", " (</s> Crime)"]
    assert parse_template("{history: {genre} {title}}").said(TITLES, GENRES) == ["Horror Alien", "</s> Crime Heat"]
    assert parse_template("{history}").said(TITLES, {}) == []
