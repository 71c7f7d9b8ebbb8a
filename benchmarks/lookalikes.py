"""Families of pictures that look alike: the same scene with another number, colour or text in it, and 100 questions.

What people wrote about them is as uneven as in any library: a whole sentence here, a word or two there, often nothing.
So the first order goes wrong in three ways: the words that tell two pictures apart stand in both, on other things
(platform 9, coach 6); the right picture has nothing but what can be read in it, while its neighbour's caption has more
of the question's words; or the one that is asked for says nothing, and its neighbours say that they are others.
The questions were written before there was a reranker, and stay as they are.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

from project.library import pictograms as icons
from project.library import render
from project.library.layout import Gap, Icon, Scene, Sign, Text
from project.library.pictograms import Shape


@dataclass(frozen=True, slots=True)
class Lookalike:
    """One picture of a family: what is drawn on it, what people wrote about it, and what must find it first."""

    questions: tuple[str, ...]
    lines: tuple[str, ...] = ()
    colour: str = "#20304a"
    title: str = ""
    caption: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """The same scene, several times."""

    name: str
    differ_in: str
    """`number`, `colour` or `text`."""
    pictures: tuple[Lookalike, ...]
    icon: tuple[Shape, ...] = ()
    paper: str = "#f6f4ee"
    backdrop: str = "#b9aa92"


RED, BLUE, GREEN, YELLOW = "#c8102e", "#1747a6", "#1b7f3b", "#f2c21a"
BLACK, WHITE, ORANGE, PURPLE = "#151515", "#fdfdfd", "#ee7d11", "#6b2c91"

NUMBERS = (
    Family(
        "platform",
        "number",
        (
            Lookalike(
                ("platform 6", "coach 9"),
                ("Platform 6", "Coach 9"),
                title="Station sign",
                caption="The platform sign on the wall of the station hall",
            ),
            Lookalike(
                ("platform 9", "the sign for platform 9 on the wall of the station hall"), ("Platform 9", "Coach 6")
            ),
            Lookalike(
                ("platform 4 sign in the station hall",),
                ("Platform 4", "Coach 2"),
                title="IMG_2041",
                caption="Station sign",
            ),
            Lookalike(("platform 2", "coach 4"), ("Platform 2", "Coach 4"), caption="Platform sign in the station"),
        ),
        icons.TRAIN,
    ),
    Family(
        "door",
        "number",
        (
            Lookalike(
                ("room 12", "floor 3"), ("Room 12", "Floor 3"), caption="A room number beside the door of an office"
            ),
            Lookalike(("room 3", "office door of room 3"), ("Room 3", "Floor 12")),
            Lookalike(("room 7",), ("Room 7", "Floor 5"), caption="Office door with the number of the room"),
            Lookalike(("room 5", "floor 7"), ("Room 5", "Floor 7"), title="Door"),
        ),
        paper="#dfe6ea",
        backdrop="#9fb4bd",
    ),
    Family(
        "gate",
        "number",
        (
            Lookalike(("gate 4", "way to gate 4 at the airport"), ("Gate 4", "Row 17")),
            Lookalike(
                ("gate 17",), ("Gate 17", "Row 4"), title="Airport", caption="The way to the gate at the airport"
            ),
            Lookalike(("gate 14", "gate 14 at the airport"), ("Gate 14", "Row 7"), title="scan 3"),
        ),
        icons.SUITCASE,
        paper="#ffd21f",
    ),
    Family(
        "stop",
        "number",
        (
            Lookalike(("line 40", "every 15 minutes"), ("Line 40", "every 15 minutes"), title="Bus stop"),
            Lookalike(("line 15", "timetable of line 15 at the bus stop"), ("Line 15", "every 40 minutes")),
            Lookalike(
                ("line 25",),
                ("Line 25", "every 10 minutes"),
                caption="The timetable of a line at the stop of the bus",
            ),
        ),
        paper="#eef2f4",
        backdrop="#7d9a63",
    ),
    Family(
        "fruit",
        "number",
        (
            Lookalike(
                ("apples 2.40", "pears 3.10"),
                ("Apples 2.40", "Pears 3.10"),
                colour=GREEN,
                caption="Prices of apples and pears at the market",
            ),
            Lookalike(("apples 3.10", "apples for 3.10 at the market"), ("Apples 3.10", "Pears 2.40"), colour=GREEN),
        ),
        icons.APPLE,
        paper="#fffdf2",
    ),
    Family(
        "poster",
        "number",
        (
            Lookalike(("concert on 14 June", "doors 8 pm"), ("Concert", "14 June", "doors 8 pm")),
            Lookalike(
                ("concert on 8 June",), ("Concert", "8 June", "doors 7 pm"), caption="Poster of a concert in June"
            ),
            Lookalike(("poster of the concert on 7 June",), ("Concert", "7 June", "doors 6 pm")),
        ),
        icons.NOTES,
        paper="#fff3d6",
    ),
)

COLOURS = (
    Family(
        "bus",
        "colour",
        (
            Lookalike(("a blue bus",), colour=BLUE, caption="A blue bus in front of a red house"),
            Lookalike(
                ("a red bus", "a red bus in front of a house"), colour=RED, caption="A red bus in front of a blue house"
            ),
            Lookalike(("a green bus in front of a house",), colour=GREEN, title="IMG_0311", tags=("green", "bus")),
            Lookalike(
                ("a yellow bus", "a yellow bus in front of a house"), colour=YELLOW, caption="A bus in front of a house"
            ),
        ),
        icons.TAXI,
    ),
    Family(
        "cup",
        "colour",
        (
            Lookalike(("a white cup", "a cup on a blue table"), colour=WHITE, caption="A white cup on a blue table"),
            Lookalike(("a blue cup", "a cup on a white table"), colour=BLUE, caption="A blue cup on a white table"),
            Lookalike(("a red cup on a table",), colour=RED, caption="Cup on a table"),
        ),
        icons.CUP,
        paper="#e9d8b6",
    ),
    Family(
        "cat",
        "colour",
        (
            Lookalike(("black cat", "a cat on a white sofa"), colour=BLACK, caption="A black cat on a white sofa"),
            Lookalike(("white cat", "a cat on a black sofa"), colour=WHITE, caption="A white cat on a black sofa"),
            Lookalike(("orange cat", "an orange cat on a sofa"), colour=ORANGE, caption="A cat on a sofa"),
        ),
        icons.CAT,
        paper="#a9b8a4",
    ),
    Family(
        "star",
        "colour",
        (
            Lookalike(("a yellow star",), colour=YELLOW, title="Flag", caption="A yellow star beside a purple moon"),
            Lookalike(
                ("a purple star", "a yellow moon"),
                colour=PURPLE,
                title="Flag",
                caption="A purple star beside a yellow moon",
            ),
            Lookalike(("a green star on a flag",), colour=GREEN, title="Star on a flag"),
        ),
        icons.STAR,
        paper="#d8d8e2",
    ),
    Family(
        "book",
        "colour",
        (
            Lookalike(("a red book",), colour=RED, caption="A red book and a green pencil"),
            Lookalike(
                ("a green book", "a green book and a pencil"), colour=GREEN, caption="A green book and a red pencil"
            ),
            Lookalike(("a blue book and a pencil",), colour=BLUE, tags=("book", "blue")),
        ),
        icons.BOOK,
    ),
    Family(
        "lantern",
        "colour",
        (
            Lookalike(("红色的灯笼",), colour=RED, caption="红色的灯笼和绿色的门"),
            Lookalike(("绿色的灯笼", "红色的门"), colour=GREEN, caption="绿色的灯笼和红色的门"),
            Lookalike(("黄色的灯笼", "门前黄色的灯笼"), colour=YELLOW, caption="门前的灯笼"),
        ),
        icons.LANTERN,
        paper="#f3ead2",
    ),
)

TEXTS = (
    Family(
        "exit",
        "text",
        (
            Lookalike(("the sign says exit", "exit sign in the corridor"), ("EXIT", "Entrance on the left")),
            Lookalike(
                ("the sign says entrance",),
                ("ENTRANCE", "Exit on the left"),
                caption="A sign in the corridor of the museum",
            ),
            Lookalike(("no exit",), ("NO EXIT", "Entrance only"), title="Sign"),
        ),
        icons.RUNNER,
        paper="#dff0e4",
    ),
    Family(
        "hours",
        "text",
        (
            Lookalike(
                ("open 9 to 5", "closed on Sunday"),
                ("Open 9 to 5", "closed on Sunday"),
                caption="Opening hours on the door of the shop",
            ),
            Lookalike(
                ("open on Sunday", "opening hours of the shop that is open on Sunday"),
                ("closed 9 to 5", "Open on Sunday"),
            ),
            Lookalike(("closed on Monday",), ("Open 10 to 6", "closed on Monday"), title="Shop"),
        ),
        icons.LOAF,
        paper="#efe3cf",
    ),
    Family(
        "route",
        "text",
        (
            Lookalike(("Leeds to York",), ("Leeds to York", "09:12"), caption="Departures"),
            Lookalike(("York to Leeds", "the train from York to Leeds"), ("York to Leeds", "09:12")),
            Lookalike(
                ("Leeds to Hull",),
                ("Leeds to Hull", "09:40"),
                caption="The board of the train from York at the station",
            ),
        ),
        paper="#fbfbf8",
        backdrop="#6b7178",
    ),
    Family(
        "way",
        "text",
        (
            Lookalike(("beach left", "harbour right"), ("Beach left", "Harbour right"), caption="Signpost at the sea"),
            Lookalike(("harbour left", "signpost: beach right"), ("Harbour left", "Beach right")),
            Lookalike(("harbour straight on",), ("Harbour straight on", "Church left"), title="Signpost"),
        ),
        icons.ARROW,
        paper="#e6d5b8",
    ),
    Family(
        "street",
        "text",
        (
            Lookalike(("king street",), ("King Street", "Queen Square"), caption="The name of a street on a house"),
            Lookalike(("queen street", "the house in queen street"), ("Queen Street", "King Square")),
            Lookalike(("prince street, not far from the station",), ("Prince Street", "Queen Square")),
        ),
        paper="#e4ecf6",
    ),
    Family(
        "menu",
        "text",
        (
            Lookalike(
                ("tea with milk", "coffee without milk"),
                ("Tea with milk", "Coffee without milk"),
                caption="The menu of a café",
            ),
            Lookalike(
                ("coffee with milk", "the menu of a café that has coffee with milk"),
                ("Coffee with milk", "Tea without milk"),
            ),
        ),
        icons.CUP,
        paper="#fff7e8",
    ),
    Family(
        "pets",
        "text",
        (
            Lookalike(("no cats", "dogs allowed"), ("Dogs allowed", "No cats")),
            Lookalike(
                ("no dogs", "cats allowed"), ("Cats allowed", "No dogs"), caption="A sign about dogs in the park"
            ),
            Lookalike(("no birds in the park",), ("Horses allowed", "No birds"), title="Park"),
        ),
        icons.DOG,
        paper="#eaf2dc",
    ),
    Family(
        "gates-zh",
        "text",
        (
            Lookalike(("东出口", "西入口"), ("东出口", "西入口"), caption="地铁站的指示牌"),
            Lookalike(("西出口", "地铁站的西出口"), ("西出口", "东入口")),
            Lookalike(("北出口",), ("北出口", "南入口"), title="指示牌"),
        ),
        paper="#e8eef2",
    ),
    Family(
        "doors",
        "text",
        (
            Lookalike(("door that says push",), ("PUSH", "to pull: other side"), title="Door"),
            Lookalike(
                ("door that says pull",), ("PULL", "to push: other side"), caption="A door that says what to do with it"
            ),
        ),
        paper="#d9dde0",
    ),
)

FAMILIES = (*NUMBERS, *COLOURS, *TEXTS)


def draw(family: Family, picture: Lookalike) -> bytes:
    """Return the PNG of one picture; those of a family differ in nothing but what sets them apart."""
    blocks: list[Icon | Gap | Text] = []
    if family.icon:
        blocks += [Icon(170 if picture.lines else 240, ((family.icon, picture.colour),)), Gap(10)]
    blocks += [
        Text(line, 34 if index else min(58, 820 // len(line)), "sans-bold") for index, line in enumerate(picture.lines)
    ]
    sign = Sign(
        f"{family.name}.png",
        540,
        0,
        paper=family.paper,
        ink="#20304a",
        radius=16,
        padding=30,
        blocks=tuple(blocks),
        scene=Scene("wall", family.backdrop, 36, -1.5),
    )
    stream = io.BytesIO()
    render.draw(sign).save(stream, "PNG")
    return stream.getvalue()
