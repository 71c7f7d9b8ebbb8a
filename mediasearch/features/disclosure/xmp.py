"""XMP packets, written anew from the properties that `allowed.XMP` names."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from defusedxml.ElementTree import fromstring

from mediasearch.features.disclosure import allowed

_RDF, _XML, _META = (
    "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}",
    "{http://www.w3.org/XML/1998/namespace}",
    "{adobe:ns:meta/}",
)
_DESCRIPTION = f"{_RDF}Description"
_RDF_ATTRIBUTES = frozenset({f"{_RDF}parseType", f"{_RDF}resource", f"{_XML}lang"})
_RDF_ELEMENTS = frozenset(f"{_RDF}{name}" for name in ("Alt", "Bag", "Seq", "li", "value", "Description"))
_BEGIN, _END = b'<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>', b'<?xpacket end="r"?>'
EMPTY = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
"""A packet that says nothing."""
_LONGEST, _MOST_ELEMENTS, _DEEPEST = 2_000_000, 10_000, 20
"""Bytes and elements of a packet that are read, and how deep these nest. The largest hold histories."""

for _prefix, _uri in (
    ("rdf", _RDF[1:-1]),
    ("x", _META[1:-1]),
    *((prefix, uri) for uri, (prefix, _) in allowed.XMP.items()),
):
    ElementTree.register_namespace(_prefix, _uri)


def cleared(packet: bytes) -> bytes:
    """Return a packet with only what is allowed, filled with spaces to the same length.

    b"" where nothing is left, it can't be parsed, or it would become longer.
    """
    try:
        left = _properties(packet)
    except Exception:  # Part of opening an untrusted file: parsers fail in many ways.
        return b""
    if left is None:
        return b""
    written = _BEGIN + left + _END if len(_BEGIN + left + _END) <= len(packet) else left
    filled = _filled(written, len(packet))
    return filled if len(filled) == len(packet) else b""


def _filled(written: bytes, length: int) -> bytes:
    """Put spaces before the end of the packet's wrapper, where writers put theirs."""
    body = written.removesuffix(_END)
    end = written[len(body) :]
    return body + b" " * (length - len(written)) + end


def _properties(packet: bytes) -> bytes | None:
    """Return the packet's XML with its allowed properties, None where it has none."""
    if len(packet) > _LONGEST:
        return None
    root = fromstring(packet.rstrip(b"\0 \t\r\n"), forbid_dtd=True)
    if sum(1 for _ in root.iter()) > _MOST_ELEMENTS:
        return None
    rdf = root if root.tag == f"{_RDF}RDF" else root.find(f"{_RDF}RDF")
    if rdf is None:
        return None
    left = Element(f"{_RDF}RDF")
    left.extend(_descriptions(rdf))
    if not len(left):
        return None
    if root is not rdf:
        outer = Element(f"{_META}xmpmeta")
        outer.append(left)
        left = outer
    return bytes(ElementTree.tostring(left, encoding="utf-8", xml_declaration=False))


def _descriptions(rdf: Element) -> Iterator[Element]:
    for description in rdf.findall(_DESCRIPTION):
        left = Element(_DESCRIPTION, {f"{_RDF}about": ""})
        left.attrib |= {name: value for name, value in description.attrib.items() if _is_allowed(name)}
        left.extend(_copy(child, _namespace(child.tag), _DEEPEST) for child in description if _is_allowed(child.tag))
        if len(left) or len(left.attrib) > 1:
            yield left


def _is_allowed(name: str) -> bool:
    namespace, _, local = name[1:].rpartition("}")
    _, names = allowed.XMP.get(namespace, ("", frozenset[str]()))
    return names is None or local in names


def _copy(element: Element, namespace: str, depth: int) -> Element:
    """Return a property, or a part of its value, with what is of its own namespace or of RDF's grammar."""
    if depth == 0:
        raise ValueError("This packet nests too deep.")
    left = Element(element.tag)
    left.text = element.text
    left.attrib |= {
        name: value
        for name, value in element.attrib.items()
        if name in _RDF_ATTRIBUTES or _namespace(name) == namespace
    }
    left.extend(
        _copy(child, namespace, depth - 1)
        for child in element
        if child.tag in _RDF_ELEMENTS or _namespace(child.tag) == namespace
    )
    return left


def _namespace(name: str) -> str:
    return name[1:].rpartition("}")[0]
