"""Plugins' own integration tests use the fixtures and helpers of tests/integration."""
import importlib.util
import pathlib
import sys

HELPERS = pathlib.Path(__file__).resolve().parents[2] / "tests" / "integration"
sys.path.insert(0, str(HELPERS))
spec = importlib.util.spec_from_file_location("integration_fixtures", HELPERS / "conftest.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
globals().update({name: value for name, value in vars(module).items() if not name.startswith("__")})
