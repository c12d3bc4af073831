"""A command on a terminal, as an animated picture.

usage: pictures.py <file.svg> <columns> <rows> <command>...

The command runs on a pseudo-terminal that pyte emulates. Each state that stays for a while is a frame of the
SVG; the last one stays longest. It needs no script where it is shown.
"""

import fcntl
import html
import os
import pty
import select
import struct
import sys
import termios
import time

import pyte

STAYS = 0.12  # seconds without a change that make a frame
MOST = 60  # frames
LAST = 5.0  # seconds that the last frame is shown
SLOWEST = 1.5  # seconds that any other is
WIDTH, HEIGHT, PAD = 8.4, 19, 16
INK, PAPER = "#d8d6d0", "#1b1b1d"
COLOURS = {
    "black": "#3a3a40", "red": "#ef8f82", "green": "#8ac9a3", "brown": "#deb076", "yellow": "#deb076",
    "blue": "#7fa3db", "magenta": "#c9a0dc", "cyan": "#7fc4c9", "white": "#e4e2dd",
    "brightblack": "#8a8780", "brightred": "#f4a99e", "brightgreen": "#a5dcb9", "brightbrown": "#ecc48f",
    "brightyellow": "#ecc48f", "brightblue": "#9bbdf0", "brightmagenta": "#d9b8e8",
    "brightcyan": "#9bd8dc", "brightwhite": "#ffffff",
}  # fmt: skip


def colour(name, usual):
    if name == "default":
        return usual
    return COLOURS.get(name, "#" + name if len(name) == 6 else usual)


def runs(line, columns):
    """The line in pieces of one style."""
    piece, style, start = "", None, 0
    for column in range(columns):
        cell = line[column]
        look = (cell.fg, cell.bg, cell.bold, cell.reverse)
        if look != style:
            if piece:
                yield start, piece, style
            piece, style, start = "", look, column
        piece += cell.data
    yield start, piece, style


def drawn(screen):
    """One frame as SVG."""
    parts = []
    for row in range(screen.lines):
        y = PAD + row * HEIGHT
        for start, text, (fg, bg, bold, reverse) in runs(screen.buffer[row], screen.columns):
            ink, paper = colour(fg, INK), colour(bg, PAPER)
            if reverse:
                ink, paper = paper, ink
            x, width = PAD + start * WIDTH, f"{len(text) * WIDTH:.1f}"
            if paper != PAPER:
                parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width}" height="{HEIGHT}" fill="{paper}"/>')
            if text.strip():
                weight = ' font-weight="bold"' if bold else ""
                parts.append(
                    f'<text x="{x:.1f}" y="{y + 14}" fill="{ink}"{weight} textLength="{width}"'
                    f' xml:space="preserve">{html.escape(text)}</text>'
                )
    return "".join(parts)


def record(command, columns, rows):
    """The frames, each with the time at which it came, and when the command ended."""
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(rows))
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    begun, frames, changed = time.monotonic(), [], False
    while True:
        ready, _, _ = select.select([terminal], [], [], STAYS)
        if ready:
            try:
                data = os.read(terminal, 65536)
            except OSError:  # its end, on Linux
                data = b""
            if not data:
                break
            stream.feed(data)
            changed = True
        since = time.monotonic() - begun - (frames[-1][0] if frames else 0.0)
        if changed and (not ready or since > 4 * STAYS):
            frames.append((time.monotonic() - begun, drawn(screen)))
            changed = False
    frames.append((time.monotonic() - begun, drawn(screen)))
    return frames, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(path, columns, rows, *command):
    columns, rows = int(columns), int(rows)
    frames, code = record(command, columns, rows)
    if code:
        sys.exit(f"{command[0]} exited with code {code}")
    frames = [frame for frame, before in zip(frames, [(0, "")] + frames) if frame[1] != before[1]]
    if len(frames) > MOST:
        step = len(frames) / MOST
        frames = [frames[int(index * step)] for index in range(MOST - 1)] + [frames[-1]]
    times = [0.0]
    for (earlier, _), (later, _) in zip(frames, frames[1:]):
        times.append(times[-1] + min(later - earlier, SLOWEST))
    total = times[-1] + LAST
    ends = times[1:] + [total]
    width, height = columns * WIDTH + 2 * PAD, rows * HEIGHT + 2 * PAD
    styles, groups = [], []
    for index, ((_, drawing), begin, end) in enumerate(zip(frames, times, ends)):
        on, off = 100 * begin / total, 100 * end / total
        keys = f"{on:.3f}%{{visibility:visible}}{off:.3f}%{{visibility:hidden}}"
        if index == 0:
            keys = f"0%{{visibility:visible}}{off:.3f}%{{visibility:hidden}}"
        styles.append(f"@keyframes f{index}{{0%{{visibility:hidden}}{keys}100%{{visibility:hidden}}}}")
        last = index == len(frames) - 1
        groups.append(
            f'<g style="animation:f{index} {total:.2f}s step-end infinite;'
            f'visibility:{"visible" if last else "hidden"}">{drawing}</g>'
        )
    with open(path, "w") as file:
        file.write(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}"'
            f' font-family="ui-monospace,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" font-size="14">'
            f"<style>{''.join(styles)}</style>"
            f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>{"".join(groups)}</svg>\n'
        )
    print(f"{path}: {len(frames)} frames, {total:.1f} s")


main(*sys.argv[1:])
