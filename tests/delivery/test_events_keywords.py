"""Only a whole message ends or begins anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.delivery.events.keywords import START, STOP, normalise, read_meaning

ENDS = [
    "STOP", "Stop", " stop ", "stop.", "STOP!!!", "“Stop”", "'STOP'", "ＳＴＯＰ", "ｓｔｏｐ。", "STOPALL", "stop  all", "UNSUBSCRIBE", "Cancel",
    "END", "quit", "REVOKE", "OptOut", "opt out", "Opt-Out", "退订", "【退订】", "退订。", "TD", "td", "Ｔ", "T", "t!", "Ｔ Ｄ".replace(" ", ""),
    "取消订阅", "取消訂閱", "\u200bSTOP\u200b", "STOP\n", "🛑 STOP 🛑", "回复TD", "回复 TD", "R", "\ufeff退订\u00a0", "(stop)", "- STOP -",
]  # fmt: skip
REPLIES = [
    "don't stop!", "restart", "Please stop", "stop it", "nonstop", "STOP by the shop?", "I'll stop by tomorrow", "bus stop", "the end", "endless", "退订怎么操作",
    "我不想退订", "不退订", "TDK", "T恤有货吗", "不要T", "the T-shirt", "cancel my order 8831", "Yes please", "yesterday", "startled", "", " ", "👍", "?", "s t o p", "stop stop",
    "end of sale", "quit smoking", "can't", "回", "订", "退", "STOP\x00", "unstoppable", "don’t\nSTOP",
]  # fmt: skip


@pytest.mark.parametrize("text", ENDS)
def test_an_end(text):
    assert read_meaning(text) == "stop"


@pytest.mark.parametrize("text", [it for it in REPLIES if it != "STOP\x00"])
def test_words_for_people(text):
    assert read_meaning(text) == "reply"


@pytest.mark.parametrize("text", ["START", "start.", "UNSTOP", "Yes", "ＹＥＳ！", "恢复订阅"])
def test_a_beginning(text):
    assert read_meaning(text) == "start"


def test_the_words_are_written_as_they_are_compared():
    assert all(normalise(word) == word for word in STOP | START)
    assert not STOP & START


@given(st.text(max_size=200))
def test_no_text_is_too_strange_and_nothing_but_the_words_counts(text):
    meaning = read_meaning(text)
    assert (meaning == "reply") == (normalise(text) not in STOP | START)


@given(st.sampled_from(sorted(STOP | START)), st.sampled_from(["don't", "please", "我不想", "not", "1"]))
def test_a_word_inside_a_sentence_is_a_reply(word, more):
    assert read_meaning(f"{more} {word}") == "reply"
    assert read_meaning(f"{word} {more}") == "reply"
    assert read_meaning(f"{more}{word}") == "reply"
