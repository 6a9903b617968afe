"""What Gradio reads from the environment, set before it is imported.

It asks nobody on the internet, and keeps uploaded files in a folder that only
this user can read, and that goes with the process.
"""

import atexit
import os
import shutil
import tempfile

FOLDER = os.path.realpath(tempfile.mkdtemp(prefix="ltu_jax_page_"))
"""The folder of the uploaded files; mode 0700."""

atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_TEMP_DIR"] = FOLDER
os.environ["GRADIO_EXAMPLES_CACHE"] = os.path.join(FOLDER, "examples")
