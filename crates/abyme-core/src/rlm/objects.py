"""Makes objects of what a signature wants as objects in an input: of its dicts, and of the texts of dates,
times, durations and decimals."""


def _abyme_input(value, kind, is_object):
    """`kind` says where the texts are: the name of a class, or a structure of these."""

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

    def objects(value):
        if isinstance(value, dict):
            return Object({key: objects(inner) for key, inner in value.items()})
        if isinstance(value, list):
            return [objects(item) for item in value]
        return value

    def typed(value, kind):
        if not kind:
            return value
        if isinstance(kind, str):
            return parsed(value, kind) if isinstance(value, str) and kind != "str" else value
        if isinstance(kind, dict):
            if not isinstance(value, dict):
                return value
            return {key: typed(inner, kind.get(key)) for key, inner in value.items()}
        form, *kinds = kind
        if form == "union":
            for each in kinds:
                if each == "str" and isinstance(value, str):
                    return value
                made = typed(value, each)
                if made != value:
                    return made
            return value
        if form == "values" and isinstance(value, dict):
            return {key: typed(inner, kinds[0]) for key, inner in value.items()}
        if form == "each" and isinstance(value, list):
            return [typed(item, kinds[0]) for item in value]
        if form == "places" and isinstance(value, list):
            return [typed(item, each) for item, each in zip(value, kinds)]
        return value

    def parsed(text, kind):
        import datetime
        import decimal
        import re

        try:
            if kind == "Decimal":
                return decimal.Decimal(text)
            if kind == "timedelta":
                parts = re.match(r"(-?)PT(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?$", text).groups("0")
                hours, minutes, seconds = map(float, parts[1:])
                length = datetime.timedelta(hours=hours, minutes=minutes, seconds=seconds)
                return -length if parts[0] == "-" else length
            text = re.sub(r"(\.\d{6})\d+", r"\1", text)  # Python has no place for more
            return getattr(datetime, kind).fromisoformat(text)
        except (ArithmeticError, AttributeError, ValueError):  # a year 0, for example: the text says it all
            return text

    value = typed(value, kind)
    return objects(value) if is_object else value


try:
    pass  # inputs
finally:
    del _abyme_input
