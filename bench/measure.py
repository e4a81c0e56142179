"""What a measured process says about itself: seconds, own and others' CPU time, peak memory."""

import os
import time

TICKS = os.sysconf("SC_CLK_TCK")


def status_bytes(pid, field):
    """A field of /proc/PID/status such as VmHWM (the most memory ever resident), in bytes."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def processes():
    """Parent and CPU seconds (with those of children that have ended) of every process."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        found[int(pid)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICKS)
    return found


def family(found):
    """This process and all below it: a peer may start a Java process."""
    members = [os.getpid()]
    for member in members:
        members.extend(pid for pid, (parent, _) in found.items() if parent == member)
    return members


def own_cpu():
    found = processes()
    return sum(found[pid][1] for pid in family(found))


def machine_cpu():
    """CPU seconds of everything on the machine, and those that its host gave to others."""
    with open("/proc/stat") as stat:
        fields = [int(value) for value in stat.readline().split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / TICKS


def peak_rss():
    return sum(status_bytes(pid, "VmHWM") for pid in family(processes()))


class Measured:
    """`with Measured() as measured:` and then `measured.figures`."""

    def __enter__(self):
        self.data_rss = status_bytes(os.getpid(), "VmRSS")
        self.machine, self.own, self.start = machine_cpu(), own_cpu(), time.perf_counter()
        return self

    def __exit__(self, *_):
        seconds = time.perf_counter() - self.start
        own = own_cpu() - self.own
        self.figures = {
            "seconds": seconds,
            "cpu_seconds": own,
            # How many CPUs' worth of work others did meanwhile.
            "other_cpus": max(0.0, machine_cpu() - self.machine - own) / seconds,
            "data_rss_bytes": self.data_rss,
            "peak_rss_bytes": peak_rss(),
        }
