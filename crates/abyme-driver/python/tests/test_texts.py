"""Long texts that are read straight into a `str`, and what is read where they cannot be."""

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import Session, load  # noqa: E402

MIB = 1 << 20
ASCII = b"ab" * MIB + b"c"  # more than is looked at in whole steps
CYRILLIC = "где-то".encode() * (MIB // 10 + 7)
# Where the only character that is not ASCII stands: at the ends, and on both sides of a step.
PLACES = (0, 65534, 65535, 65536, MIB, 2 * MIB - 1)
LIMIT = "import resource\nresource.setrlimit(resource.RLIMIT_AS, ({0} << 20, {0} << 20))"
OTHER_PYTHONS = {
    "ctypes": "",
    "no ctypes": "import sys\nsys.modules['_ctypes'] = None",
    "no C API": "import _ctypes\ndel _ctypes.dlsym",
    "another C API": "import _ctypes\nfind = _ctypes.dlsym\n"
    "_ctypes.dlsym = lambda library, name: find(library, name.replace('AsUTF8', 'GetLength'))",
}


class Filled(unittest.TestCase):
    def setUp(self):
        self.texts = load(("texts",))
        self.functions = self.texts.find_functions()
        if self.functions is None:
            self.assertNotEqual(sys.implementation.name, "cpython")
            self.skipTest("no CPython")

    def filled(self, data, step):
        filled = self.texts.FilledText(self.functions, len(data))
        for start in range(0, len(data), step):
            end = min(start + step, len(data))
            filled.view[start:end] = data[start:end]
            filled.look(end)
        return filled

    def test_any_pieces_make_the_text(self):
        for size in (1, 65535, 65536, 65537, 200_000):
            for step in (size, 65536, 65535, 1000):
                data = (b"a line\n" * size)[:size]
                text = self.filled(data, step).text()
                self.assertEqual(text, data.decode())
                self.assertTrue(text.isascii() and hash(text) == hash(data.decode()))
                self.assertEqual(text + "é", data.decode() + "é")
                self.assertEqual(self.filled(data, step).data(), data)

    def test_what_is_not_ascii_is_decoded(self):
        for place in (0, 1, 65535, 65536, 99_998):
            data = bytearray(b"x" * 100_000)
            data[place : place + 2] = "é".encode()
            text = self.filled(bytes(data), 3000).text()
            self.assertEqual((text, len(text)), (data.decode(), 99_999))

    def test_what_is_no_text_is_an_error_and_has_bytes(self):
        filled = self.filled(b"x" * 70_000 + b"\xff", 70_001)
        self.assertRaises(UnicodeDecodeError, filled.text)
        self.assertEqual(filled.data(), b"x" * 70_000 + b"\xff")

    def test_what_was_not_looked_at_is_not_taken_for_ascii(self):
        filled = self.texts.FilledText(self.functions, 4)
        filled.view[:] = "éé".encode()
        self.assertEqual(filled.text(), "éé")

    def test_nobody_else_holds_a_text(self):
        text = self.filled(b"x" * 100_000, 100_000).text()
        other = "".join(["y", "z"])
        self.assertEqual(sys.getrefcount(text), sys.getrefcount(other))

    def test_a_size_that_no_memory_has_is_a_memory_error(self):
        self.assertRaises(MemoryError, self.texts.FilledText, self.functions, 1 << 60)


class FromTheHost(unittest.TestCase):
    def session(self, before=""):
        session = Session()
        self.addCleanup(session.__exit__)
        self.assertIsNone(session.run(before)["error"])
        return session

    def echoed(self, session, mark, *blobs):
        values = [{mark: index} for index in range(len(blobs))]
        answer = session.run("", variables={"v": values}, blobs=blobs, reads=["v"])
        self.assertIsNone(answer["error"], answer["error"])
        return answer["variables"]["v"]

    def test_texts_arrive(self):
        for name, before in OTHER_PYTHONS.items():
            with self.subTest(name):
                session = self.session(before)
                blobs = [b"", ASCII, CYRILLIC, b"short", ASCII + b"\xc3\xa9", ASCII[:MIB], ASCII[: MIB - 1]]
                for place in PLACES:
                    blobs.append(ASCII[:place] + "€".encode() + ASCII[place:])
                self.assertEqual(self.echoed(session, "$text", *blobs), [blob.decode() for blob in blobs])
                self.assertEqual(self.echoed(session, "$bytes", *blobs), blobs)

    def test_bytes_arrive(self):
        for name, before in OTHER_PYTHONS.items():
            with self.subTest(name):
                blobs = [bytes(range(256)) * 5000, b"\xff" * MIB, bytes(2 * MIB), CYRILLIC[1:]]
                self.assertEqual(self.echoed(self.session(before), "$bytes", *blobs), blobs)

    def test_what_is_no_text_ends_the_session(self):
        session = self.session()
        session.start("", variables={"v": {"$text": 0}}, blobs=[ASCII + b"\xff"])
        self.assertIn("bad $text value", session.receive()["message"])
        self.assertEqual(session.end(), 70)

    def test_a_text_that_ends_early_ends_the_session(self):
        for data in (b"a" * 10, b"a" * MIB, "é".encode() * MIB):
            session = self.session()
            header = b'{"type":"run","id":2,"code":"","variables":{"v":{"$text":0}}}'
            size = len(data) + 5 * MIB
            prefix = b"ABY1" + len(header).to_bytes(4, "big") + b"\0\0\0\1" + size.to_bytes(8, "big")
            session.send_bytes(prefix + header + data)
            session.process.stdin.close()
            self.assertEqual(session.end(), 70)

    def test_a_text_takes_its_memory_once(self):
        session = self.session(LIMIT.format(400))
        size = 250 * MIB
        answer = session.run("len(v), v[-1]", variables={"v": {"$text": 0}}, blobs=[b"x" * size])
        self.assertEqual(answer["value"] and answer["value"]["text"], f"({size}, 'x')", answer["error"])
        # One that has to be decoded takes it twice, and there is not so much.
        text = b"x" * (size - 2) + "é".encode()
        session.run("del v")
        error = session.run("len(v)", variables={"v": {"$text": 0}}, blobs=[text])["error"]
        self.assertEqual(error["type"], "MemoryError")
        self.assertNotIn("texts.py", error["traceback"])
        self.assertEqual(session.run("1 + 1")["value"]["text"], "2")

    def test_a_cell_sees_no_more_modules_than_before(self):
        session = self.session("import sys")
        shown = "sorted(name for name in sys.modules if 'abyme' in name), 'ctypes' in sys.modules"
        answer = session.run(shown, variables={"v": {"$text": 0}}, blobs=[ASCII])
        self.assertEqual(answer["value"]["text"], "([], False)")


if __name__ == "__main__":
    unittest.main()
