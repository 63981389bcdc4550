#!/usr/bin/env python3
"""Types answers at a terminal.

    typed.py TRANSCRIPT QUESTION=ANSWER... -- COMMAND...

Runs the command on a terminal of its own, waits for each question and types the answer
(^C is Ctrl-C). Writes what the terminal showed, then a line "echo on" or "echo off": how
the command left it. Exits with the command's status.
"""
import os
import pty
import signal
import subprocess
import sys
import termios
import time

LIMIT = 30


def read_until(terminal, shown, text):
    end = time.monotonic() + LIMIT
    while text not in shown:
        if time.monotonic() > end:
            raise TimeoutError(f"{text!r} is not asked: {shown!r}")
        shown += os.read(terminal, 1000)
    return shown


def main():
    end = sys.argv.index("--")
    terminal, end_of_command = pty.openpty()
    # The child takes the terminal as its own, so that Ctrl-C reaches it.
    process = subprocess.Popen(
        ["setsid", "--ctty", *sys.argv[end + 1:]], stdin=end_of_command,
        stdout=end_of_command, stderr=end_of_command)
    shown = b""
    for step in sys.argv[2:end]:
        question, answer = step.split("=", 1)
        shown = read_until(terminal, shown, question.encode() + b": ")
        time.sleep(0.2)  # it has hidden what is typed by then
        os.write(terminal, b"\x03" if answer == "^C" else answer.encode() + b"\n")
    try:
        status = process.wait(LIMIT)
    finally:
        process.send_signal(signal.SIGKILL)
    os.set_blocking(terminal, False)
    try:
        while more := os.read(terminal, 1000):
            shown += more
    except OSError:
        pass
    echo = termios.tcgetattr(end_of_command)[3] & termios.ECHO
    with open(sys.argv[1], "wb") as file:
        file.write(shown + (b"\necho on\n" if echo else b"\necho off\n"))
    return status if status >= 0 else 128 - status


sys.exit(main())
