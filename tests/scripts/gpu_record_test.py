"""The GPU record goes stale with every file that decides what runs on a GPU, and with no other."""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "scripts/gpu_record.py"
DOCTOR = {
    "findings": [
        {"subject": "driver", "detail": "CUDA 13.0, /usr/lib/libcuda.so.1"},
        {"subject": "GPU 0", "detail": "A GPU, sm_90"},
        {"subject": "NVRTC", "detail": "13.0, /opt/cuda/libnvrtc.so.13, identity 65be…, compiles for 80 90"},
    ]
}


def suite(*tests: dict) -> dict:
    return {"testsuites": [{"name": "Forward", "testsuite": list(tests)}]}


PASSED = {"name": "IsRight", "result": "COMPLETED"}
SKIPPED = {"name": "TwoDevices", "result": "SKIPPED"}
FAILED = {"name": "IsWrong", "result": "COMPLETED", "failures": [{"failure": "no"}]}


class GpuRecord(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for name in (
            "templates/a.cu",
            "include/a.hpp",
            "src/api/a.cpp",
            "src/cli/a.cpp",
            "tests/gpu/a.cpp",
            "README.md",
        ):
            self.put(name, name)

    def put(self, name: str, text: str):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run_script(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, SCRIPT, "--root", self.root, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def write(self, *tests: dict, memcheck: str = "passed") -> dict:
        self.put("suite.json", json.dumps(suite(*tests)))
        self.put("doctor.json", json.dumps(DOCTOR))
        inputs = ["--suite", str(self.root / "suite.json"), "--doctor", str(self.root / "doctor.json")]
        outcomes = ["--sanitizer", f"memcheck={memcheck}", "--sanitizer", "racecheck=passed"]
        result = self.run_script("write", *inputs, *outcomes)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads((self.root / "tests/gpu/record.json").read_text())

    def assert_fault(self, words: str):
        result = self.run_script("check")
        self.assertEqual(result.returncode, 1)
        self.assertIn(words, result.stdout)

    def test_says_what_ran_and_where(self):
        record = self.write(PASSED, SKIPPED)
        self.assertEqual(record["tests"]["passed"], {"Forward.IsRight": 1})
        self.assertEqual(record["tests"]["skipped"], ["Forward.TwoDevices"])
        self.assertEqual(record["device"], "A GPU, sm_90")
        self.assertEqual(record["nvrtc"], "13.0, identity 65be…")
        self.assertTrue(record["driver"].endswith("CUDA 13.0"), record["driver"])

    def test_a_fresh_record_is_good(self):
        self.write(PASSED, SKIPPED)
        self.assertEqual(self.run_script("check").returncode, 0)

    def test_goes_stale_with_what_runs_on_a_gpu(self):
        for name in ("templates/a.cu", "include/a.hpp", "src/api/a.cpp", "tests/gpu/a.cpp", "python/new.py"):
            with self.subTest(name):
                self.write(PASSED)
                self.put(name, "changed for " + name)
                self.assert_fault("changed since")

    def test_stays_good_with_the_tool_and_words(self):
        self.write(PASSED)
        for name in ("src/cli/a.cpp", "README.md", "tests/gpu/__pycache__/a.pyc"):
            self.put(name, "changed")
        self.assertEqual(self.run_script("check").returncode, 0)

    def test_a_file_that_moves_makes_it_stale(self):
        self.write(PASSED)
        (self.root / "src/api/a.cpp").rename(self.root / "src/api/b.cpp")
        self.assert_fault("changed since")

    def test_failures_are_told(self):
        self.write(PASSED, FAILED)
        self.assert_fault("Forward.IsWrong")

    def test_an_unclean_sanitizer_run_is_told(self):
        self.write(PASSED, memcheck="failed")
        self.assert_fault("memcheck: failed")

    def test_nothing_but_skips_is_no_pass(self):
        self.write(SKIPPED)
        self.assert_fault("no test passed")

    def test_a_record_that_is_missing_or_broken_is_told(self):
        self.assert_fault("can't be read")
        for text in ("", "[]", '{"sources": 1}'):
            with self.subTest(text):
                self.put("tests/gpu/record.json", text)
                self.assert_fault("can't be read")


if __name__ == "__main__":
    unittest.main()
