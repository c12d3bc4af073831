"""Makes objects of the inputs that a signature wants as objects."""


def _abyme_object(value):
    class Object:
        """What was a dict: its keys are attributes."""

        def __init__(self, entries):
            self.__dict__.update(entries)

        def __repr__(self):
            return "Object(" + ", ".join(f"{key}={value!r}" for key, value in vars(self).items()) + ")"

        def __eq__(self, other):
            return type(self) is type(other) and vars(self) == vars(other)

        def model_dump(self):  # so that one can be submitted, and passed to host functions
            return dict(vars(self))

    def convert(value):
        if isinstance(value, dict):
            return Object({key: convert(inner) for key, inner in value.items()})
        if isinstance(value, list):
            return [convert(item) for item in value]
        return value

    return convert(value)


try:
    pass  # inputs
finally:
    del _abyme_object
