"""Long texts from the host, read from the stream straight into a new `str`.

To read the bytes of a text into memory of their own and decode them there would copy them twice, and take the
memory twice. CPython lets C code make a `str` of a known size and write its characters while nobody has seen
it (`PyUnicode_New`). ASCII characters are bytes, so the bytes of a text are read into such a `str`, and
looked through as they come: if all of them were ASCII, the `str` is the text. Otherwise its memory was any
memory, from which the text is decoded. Where Python has no `ctypes` or is not CPython, there is no such
`str`, and `wire.py` takes other memory.
"""

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

_LOOK_BYTES = 65536  # so many bytes are looked through at once, while they are in the processor's cache
_MAX_ASCII = 127
_WRITE = 0x200  # PyBUF_WRITE
_MAX_HEAD = 256  # more than the fields of a `str` take in front of its characters


class FilledText:
    """A `str` of `size` ASCII characters, none of which is there yet. `view` is its memory, for bytes."""

    __slots__ = ("_ascii", "_looked", "_text", "view")

    def __init__(self, functions, size):
        new, characters, view = functions
        self._text = new(size, _MAX_ASCII)
        self.view = view(characters(self._text), size, _WRITE)
        self._looked, self._ascii = 0, True

    def look(self, filled):
        """Look through what has come since the last look. The first `filled` bytes are there."""
        view = self.view
        while self._ascii and self._looked < filled:
            upto = self._looked + _LOOK_BYTES
            if upto > filled < len(view):
                return  # it is looked at with what follows
            try:
                self._ascii = view[self._looked : upto].tobytes().isascii()
            except MemoryError:  # decoding it says so, if there is still none
                self._ascii = False
            self._looked = upto

    def text(self):
        """The text, once all bytes are there and were looked through. UnicodeDecodeError if it is none."""
        known = self._ascii and self._looked >= len(self.view)
        return self._text if known else str(self.view, "utf-8")

    def data(self):
        """A copy of the bytes, once all are there."""
        return bytes(self.view)


def find_functions():
    """What `FilledText` needs of Python's C API. None if this Python does not have it."""
    try:
        new, characters, _view = found = _find()
        text = new(5, _MAX_ASCII)
        # Another Python may keep characters apart from their `str`, and give out a copy of them.
        if not 0 < characters(text) - id(text) < _MAX_HEAD:
            return None
        filled = FilledText(found, 5)
        filled.view[:] = b"abyme"
        filled.look(5)
        return found if filled.text() == "abyme" else None
    except Exception:
        return None


def _find():
    # The C part of `ctypes` alone: importing the rest takes milliseconds.
    import _ctypes
    from os import RTLD_NOW

    def kind(code):
        return type("Kind", (_ctypes._SimpleCData,), {"_type_": code})

    # Sizes are as wide as pointers.
    size, pointer, number, instance = kind("P"), kind("P"), kind("I"), kind("O")
    library = _ctypes.dlopen(None, RTLD_NOW)

    # Functions of Python's own: they are called with its lock, and raise its exceptions.
    flags = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI

    def function(name, result, *arguments):
        fields = {"_flags_": flags, "_restype_": result, "_argtypes_": arguments}
        return type("Function", (_ctypes.CFuncPtr,), fields)(_ctypes.dlsym(library, name))

    return (
        function("PyUnicode_New", instance, size, number),
        function("PyUnicode_AsUTF8", pointer, instance),
        function("PyMemoryView_FromMemory", instance, pointer, size, number),
    )
