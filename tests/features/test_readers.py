"""Every reader finds words, says where they stand, and invents none."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

from mediasearch.exceptions import ReaderFailed, ReaderTimeout, ReaderUnavailable
from mediasearch.features import rapid, tesseract
from mediasearch.features.base import Problem, Reading, TextReader, Word
from mediasearch.features.rapid import BORDER, RapidOcr
from mediasearch.features.reading import Combined, added
from mediasearch.features.tesseract import Tesseract

CHINESE_SIGN = Path(__file__).parents[2] / "project/library/pictures/no-smoking.png"
WHOLE = (0.0, 0.0, 1.0, 1.0)


def sign(*lines: str, paper: str = "darkgreen", ink: str = "white", size: int = 48) -> Image.Image:
    image = Image.new("RGB", (640, 90 * len(lines) + 60), paper)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((40, 40 + 90 * number), line, fill=ink, font=ImageFont.load_default(size))
    return image


def texts(reading: Reading) -> set[str]:
    return {word.text.casefold() for word in reading.words}


@pytest.fixture(scope="module", params=[RapidOcr, Tesseract, Combined])
def reader(request: pytest.FixtureRequest) -> TextReader:
    if request.param is Tesseract and shutil.which("tesseract") is None:
        pytest.skip("the tesseract program is not installed")
    made: TextReader = request.param()
    return made


def test_an_english_sign_is_read(reader: TextReader) -> None:
    assert {"fire", "exit", "keep", "clear"} <= texts(reader.read(sign("Fire Exit", "Keep Clear")))


@pytest.mark.parametrize(("paper", "ink"), [("white", "black"), ("black", "gold"), ("navy", "white")])
def test_colours_make_no_difference(reader: TextReader, paper: str, ink: str) -> None:
    assert {"platform", "seven"} <= texts(reader.read(sign("Platform seven", paper=paper, ink=ink)))


def test_a_word_that_fills_the_picture_is_read(reader: TextReader) -> None:
    left, top, right, bottom = ImageFont.load_default(72).getbbox("Bakery")
    image = Image.new("RGB", (int(right - left) + 8, int(bottom - top) + 8), "white")
    ImageDraw.Draw(image).text((4 - left, 4 - top), "Bakery", fill="black", font=ImageFont.load_default(72))
    assert "bakery" in texts(reader.read(image))


def test_a_chinese_sign_is_read_with_its_characters_together(reader: TextReader) -> None:
    if not CHINESE_SIGN.exists():
        pytest.skip("the sample library has not been rendered")
    if isinstance(reader, Tesseract) and any(problem.name == "tesseract-language" for problem in reader.check()):
        pytest.skip("tesseract has no data for chi_sim")
    with Image.open(CHINESE_SIGN) as image:
        assert "违者罚款五十元" in reader.read(image.convert("RGB")).text


def test_a_lone_letter_is_read() -> None:
    assert texts(RapidOcr().read(sign("P", paper="navy", size=72))) == {"p"}


def test_a_blank_picture_has_no_words(reader: TextReader) -> None:
    assert reader.read(Image.new("RGB", (400, 300), "beige")) == Reading()


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (2_000, 4)])
def test_a_picture_of_any_shape_is_looked_at(reader: TextReader, size: tuple[int, int]) -> None:
    assert reader.read(Image.new("RGB", size, "white")) == Reading()


def test_boxes_stand_where_the_words_are(reader: TextReader) -> None:
    words = {word.text.casefold(): word for word in reader.read(sign("North Pier", "South Gate")).words}
    for word in words.values():
        left, top, width, height = word.box
        assert min(word.box) >= 0
        assert max(left + width, top + height) <= 1.000001
    assert words["north"].box[0] < words["pier"].box[0] < 0.5
    assert words["north"].box[1] + words["north"].box[3] / 2 < 0.5 < words["south"].box[1] + words["south"].box[3] / 2


def test_words_of_one_line_share_it_and_lines_count_from_zero(reader: TextReader) -> None:
    reading = reader.read(sign("North Pier", "South Gate"))
    assert [(word.text.casefold(), word.line) for word in reading.words] == [
        ("north", 0), ("pier", 0), ("south", 1), ("gate", 1),
    ]  # fmt: skip


def test_confidence_is_a_fraction(reader: TextReader) -> None:
    assert all(0.5 < word.confidence <= 1 for word in reader.read(sign("Open")).words)


def test_rapid__two_threads_load_an_engine_once_and_two_engines_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rapidocr = pytest.importorskip("rapidocr")
    first, second, both, made = RapidOcr(), RapidOcr(), threading.Barrier(2), []
    make = rapidocr.RapidOCR

    def making(**options: Any) -> Any:
        both.wait(10)
        made.append(make(**options))
        return made[-1]

    monkeypatch.setattr(rapidocr, "RapidOCR", making)
    with ThreadPoolExecutor(4) as threads:
        engines = list(threads.map(lambda reader: reader._engine, [first, second, first, second]))
    assert engines == [first._engine, second._engine] * 2
    assert len(made) == 2


def test_a_missing_program_is_told_with_what_installs_it() -> None:
    reader = Tesseract(command="/nowhere/tesseract")
    (problem,) = reader.check()
    assert problem.name == "tesseract-missing"
    assert "apt-get install tesseract-ocr" in problem.hint
    assert "brew install tesseract" in problem.hint
    with pytest.raises(
        ReaderUnavailable, match="apt-get install tesseract-ocr tesseract-ocr-eng tesseract-ocr-chi-sim"
    ):
        reader.read(Image.new("RGB", (20, 20)))


@pytest.mark.skipif(shutil.which("tesseract") is None, reason="the tesseract program is not installed")
class TestTesseract:
    def test_a_missing_language_is_told_and_left_out(self) -> None:
        reader = Tesseract(languages=("eng", "tlh"))
        (problem,) = reader.check()
        assert (problem.name, "tesseract-ocr-tlh" in problem.hint) == ("tesseract-language", True)
        assert "exit" in texts(reader.read(sign("Exit")))

    def test_without_any_language_it_is_unavailable(self) -> None:
        with pytest.raises(ReaderUnavailable, match="tesseract-ocr-tlh"):
            Tesseract(languages=("tlh",)).read(sign("Exit"))

    def test_a_crash_is_blamed_on_the_picture(self, tmp_path: Path) -> None:
        program = tmp_path / "tesseract"
        program.write_text(
            "#!/bin/sh\ncase $1 in --list-langs) echo eng;; --version) echo 5.3.0;; *) kill -SEGV $$;; esac\n"
        )
        program.chmod(0o755)
        with pytest.raises(ReaderFailed, match="tesseract failed on this picture"):
            Tesseract(command=str(program)).read(sign("Exit"))

    def test_a_program_that_hangs_whatever_it_is_asked_is_unavailable(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "tesseract"
        program.write_text("#!/bin/sh\nexec sleep 30\n")
        program.chmod(0o755)
        monkeypatch.setattr(tesseract, "_ANSWERS_IN", 0.5)
        with pytest.raises(ReaderUnavailable, match="hangs when asked for its languages"):
            Tesseract(command=str(program)).read(sign("Exit"))
        (problem,) = Tesseract(command=str(program)).check()
        assert problem.name == "tesseract-missing"

    def test_it_stops_after_its_time(self) -> None:
        with pytest.raises(ReaderTimeout, match=r"0\.01 s"):
            Tesseract(timeout=0.01).read(sign("Exit"))


class TestRapidOcr:
    def test_lines_that_are_left_when_its_time_is_over_are_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = sign(*(f"Line number {word}" for word in ("one", "two", "three", "four")))
        clock = SimpleNamespace(process_time=count().__next__)
        monkeypatch.setattr(rapid, "time", clock)  # A second for each look at it.
        assert texts(RapidOcr(seconds=2).read(lines)) == {"line", "number", "one", "two"}

    @pytest.mark.parametrize("size", [(60_000, 8), (8, 60_000), (4_000, 3_000), (30_000, 400), (7_000, 7_000)])
    def test_detection_is_given_few_pixels_whatever_the_shape(self, size: tuple[int, int]) -> None:
        reader = RapidOcr()
        for scale in reader._scales(*size):
            width, height = (scale * side + 2 * BORDER for side in size)
            assert width * height < 2.5 * reader.most_pixels


class Fixed(TextReader):
    def __init__(self, *words: Word, failure: Exception | None = None, problem: str = "") -> None:
        self.words, self.failure, self.problem = words, failure, problem

    def check(self) -> list[Problem]:
        return [Problem(self.problem, "Install it.", self.problem)] if self.problem else []

    def read(self, image: Image.Image) -> Reading:
        if self.failure:
            raise self.failure
        return Reading(self.words)


class TestCombined:
    picture = Image.new("RGB", (8, 8))

    def test_a_word_that_both_see_is_there_once(self) -> None:
        first, again = Word("Exit", (0.1, 0.1, 0.2, 0.1), 0.9, 0), Word("EXIT", (0.11, 0.1, 0.2, 0.1), 0.8, 0)
        assert Combined([Fixed(first), Fixed(again)]).read(self.picture).words == (first,)

    def test_what_only_the_second_sees_comes_after_as_lines_of_its_own(self) -> None:
        glued = Word("202417:33", (0.1, 0.1, 0.4, 0.1), 0.9, 0)
        parts = [Word("2024", (0.1, 0.1, 0.2, 0.1), 0.9, 0), Word("17:33", (0.3, 0.1, 0.2, 0.1), 0.9, 0)]
        assert [(word.text, word.line) for word in added([glued], parts)] == [
            ("202417:33", 0),
            ("2024", 1),
            ("17:33", 1),
        ]

    def test_the_same_word_elsewhere_is_kept(self) -> None:
        here, there = Word("2", (0.1, 0.1, 0.1, 0.1), 0.9, 0), Word("2", (0.7, 0.7, 0.1, 0.1), 0.9, 0)
        assert added([here], [there]) == [here, Word("2", there.box, 0.9, 1)]

    @pytest.mark.parametrize(
        "failure", [ReaderUnavailable("Absent."), ReaderTimeout("Slow."), ZeroDivisionError(), MemoryError()]
    )
    def test_it_goes_on_without_a_reader_that_fails(self, failure: Exception) -> None:
        word = Word("Exit", WHOLE, 0.9, 0)
        assert Combined([Fixed(failure=failure), Fixed(word)]).read(self.picture).words == (word,)

    def test_with_no_reader_left_it_is_unavailable(self) -> None:
        broken = [Fixed(failure=ReaderUnavailable("First is absent.")), Fixed(failure=ReaderUnavailable("Second is."))]
        with pytest.raises(ReaderUnavailable, match=r"First is absent\. Second is\."):
            Combined(broken).read(self.picture)

    def test_a_reader_that_is_absent_is_told_and_two_as_one(self) -> None:
        absent = Fixed(problem="tesseract-missing")
        assert [problem.name for problem in Combined([Fixed(), absent]).check()] == ["tesseract-missing"]
        assert [problem.name for problem in Combined([absent, absent]).check()] == ["reader-missing"]

    def test_tesseract_looks_twice_only_where_it_is_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert [getattr(reader, "overview", None) for reader in Combined().readers] == [320, 0]
        monkeypatch.setattr(RapidOcr, "check", lambda self: [Problem("Absent.", "Install it.", "reader-missing")])
        assert [getattr(reader, "overview", None) for reader in Combined().readers] == [320, 400]

    def test_readers_may_be_named_with_their_options(self) -> None:
        named: dict[str, Any] = {"BACKEND": "mediasearch.features.fake.FakeReader", "OPTIONS": {"text": "Exit"}}
        assert Combined([named, "mediasearch.features.fake.FakeReader"]).read(self.picture).text == "Exit"
