"""What the guest lacks is said, and UTC is there."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from support import WorldCase  # noqa: E402


class Lacks(WorldCase):
    def test_utc_needs_no_database(self):
        self.value(
            "import zoneinfo, datetime\nzoneinfo.reset_tzpath([])\n"
            "u, g = zoneinfo.ZoneInfo('UTC'), zoneinfo.ZoneInfo.no_cache('Etc/GMT')\n"
            "when = datetime.datetime(2024, 7, 1, tzinfo=u)\n"
            "when.isoformat(), when.tzname(), when.replace(tzinfo=g).tzname()",
            "('2024-07-01T00:00:00+00:00', 'UTC', 'GMT')",
        )


if __name__ == "__main__":
    import unittest

    unittest.main()
