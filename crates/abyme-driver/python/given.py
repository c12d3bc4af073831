"""Long texts that the host put into the session. A call hands such a text back by its number."""

# Each driver file has its own copy of the builtins: a cell that runs `builtins.len = None` must not break it.
__builtins__ = dict(__builtins__ if isinstance(__builtins__, dict) else vars(__builtins__))

MARK = "$given"  # no parameter of a Python function has this name


class GivenTexts:
    """The texts by number. They are told apart by identity, so each is kept as long as its name keeps it."""

    def __init__(self):
        # Replaced, never changed: threads that earlier cells started may be calling meanwhile.
        self._texts = {}  # number -> (name, text)

    def add(self, numbers, variables):
        """Take over the texts among the variables that were set, `numbers` by name."""
        if numbers:
            new = {number: (name, variables[name]) for name, number in numbers.items()}
            self._texts = {**self._texts, **new}

    def clear(self):
        """Forget all: the host of a copied session does not have them."""
        self._texts = {}

    def kept(self, variables):
        """The numbers of the texts that still have their names. The others are forgotten."""
        if self._texts:
            given = self._texts.items()
            self._texts = {
                number: (name, text) for number, (name, text) in given if variables.get(name) is text
            }
        return list(self._texts)

    def name_in(self, kwargs):
        """`kwargs` with numbers in place of given texts, also of those in lists."""
        if not self._texts:
            return kwargs
        numbers, named = {id(text): number for number, (_, text) in self._texts.items()}, {}
        for key, value in kwargs.items():
            if id(value) in numbers:
                named[key] = numbers[id(value)]
            elif type(value) is list and not numbers.keys().isdisjoint(map(id, value)):
                found = enumerate(map(numbers.get, map(id, value)))
                named[key] = {str(index): number for index, number in found if number is not None}
        if not named:
            return kwargs
        rest = {**kwargs, MARK: named}
        for key, number in named.items():
            one = type(number) is int
            rest[key] = None if one else [None if id(item) in numbers else item for item in kwargs[key]]
        return rest
