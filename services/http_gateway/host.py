"""/v1/agent/host: memory, processors, host and disk as gopsutil reports them, read from /proc and /sys."""

from __future__ import annotations

import os
import platform
import time
from typing import Any

_MEMORY = {
    "active": "Active",
    "inactive": "Inactive",
    "buffers": "Buffers",
    "writeback": "Writeback",
    "dirty": "Dirty",
    "writebacktmp": "WritebackTmp",
    "shared": "Shmem",
    "slab": "Slab",
    "sreclaimable": "SReclaimable",
    "sunreclaim": "SUnreclaim",
    "pagetables": "PageTables",
    "swapcached": "SwapCached",
    "commitlimit": "CommitLimit",
    "committedas": "Committed_AS",
    "hightotal": "HighTotal",
    "highfree": "HighFree",
    "lowtotal": "LowTotal",
    "lowfree": "LowFree",
    "swaptotal": "SwapTotal",
    "swapfree": "SwapFree",
    "mapped": "Mapped",
    "vmalloctotal": "VmallocTotal",
    "vmallocused": "VmallocUsed",
    "vmallocchunk": "VmallocChunk",
    "hugepagestotal": "HugePages_Total",
    "hugepagesfree": "HugePages_Free",
    "hugepagesize": "Hugepagesize",
}


def host_info() -> dict[str, Any]:
    """The object of the endpoint. What cannot be read is reported under Errors, as there."""
    info: dict[str, Any] = {"Memory": None, "CPU": None, "Host": None, "Disk": None}
    errors: list[dict[str, Any]] = []
    for name, collect in (("Host", _host), ("Memory", _memory), ("Disk", _disk), ("CPU", _processors)):
        try:
            info[name] = collect()
        except (OSError, ValueError, KeyError):
            errors.append({})  # Go's JSON of an error value
    return {**info, "CollectionTime": time.time_ns(), "Errors": errors or None}


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _memory() -> dict[str, Any]:
    """Bytes."""
    fields: dict[str, int] = {}
    for line in _read("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        parts = rest.split()
        fields[name] = int(parts[0]) * (1024 if parts[1:] == ["kB"] else 1)
    total, free = fields["MemTotal"], fields["MemFree"]
    cached = fields["Cached"] + fields.get("SReclaimable", 0)
    used = total - free - fields["Buffers"] - cached
    shown = {name: fields.get(source, 0) for name, source in _MEMORY.items()}
    return {
        "total": total,
        "available": fields.get("MemAvailable", free),
        "used": used,
        "usedPercent": used / total * 100,
        "free": free,
        "active": shown.pop("active"),
        "inactive": shown.pop("inactive"),
        "wired": 0,
        "laundry": 0,
        "buffers": shown.pop("buffers"),
        "cached": cached,
        **shown,
    }


def _processors() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for block in _read("/proc/cpuinfo").strip().split("\n\n"):
        fields = {
            name.strip(): value.strip() for name, _, value in (line.partition(":") for line in block.splitlines())
        }
        found.append(
            {
                "cpu": int(fields["processor"]),
                "vendorId": fields.get("vendor_id", ""),
                "family": fields.get("cpu family", ""),
                "model": fields.get("model", ""),
                "stepping": int(fields.get("stepping", "0") or "0"),
                "physicalId": fields.get("physical id", ""),
                "coreId": fields.get("core id", ""),
                "cores": 1,
                "modelName": fields.get("model name", ""),
                "mhz": float(fields.get("cpu MHz", "0")),
                "cacheSize": int(fields.get("cache size", "0 KB").split()[0]),
                "flags": fields.get("flags", "").split(),
                "microcode": fields.get("microcode", ""),
            }
        )
    return found


def _host() -> dict[str, Any]:
    release = dict(
        line.split("=", 1) for line in _read("/etc/os-release").splitlines() if "=" in line and line[0] != "#"
    )
    boot_s = next(int(line.split()[1]) for line in _read("/proc/stat").splitlines() if line.startswith("btime"))
    name = release.get("ID", "").strip('"')
    return {
        "hostname": platform.node(),
        "uptime": int(time.time()) - boot_s,
        "bootTime": boot_s,
        "procs": sum(entry.isdigit() for entry in os.listdir("/proc")),
        "os": "linux",
        "platform": name,
        "platformFamily": release.get("ID_LIKE", name).strip('"').split(" ")[0],
        "platformVersion": release.get("VERSION_ID", "").strip('"'),
        "kernelVersion": platform.release(),
        "kernelArch": platform.machine(),
        "virtualizationSystem": "",
        "virtualizationRole": "",
        "hostid": _read("/proc/sys/kernel/random/boot_id").strip(),
    }


def _disk() -> dict[str, Any]:
    stat = os.statvfs("/")
    size = stat.f_frsize
    total, free, used = stat.f_blocks * size, stat.f_bavail * size, (stat.f_blocks - stat.f_bfree) * size
    inodes_used = stat.f_files - stat.f_ffree
    return {
        "path": "/",
        "fstype": _root_filesystem(),
        "total": total,
        "free": free,
        "used": used,
        "usedPercent": used / (used + free) * 100 if used + free else 0.0,
        "inodesTotal": stat.f_files,
        "inodesUsed": inodes_used,
        "inodesFree": stat.f_ffree,
        "inodesUsedPercent": inodes_used / stat.f_files * 100 if stat.f_files else 0.0,
    }


def _root_filesystem() -> str:
    kinds = [fields[2] for line in _read("/proc/mounts").splitlines() if (fields := line.split())[1] == "/"]
    return kinds[-1] if kinds else ""
