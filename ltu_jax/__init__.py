"""LTU (Listen, Think, and Understand) in JAX: hear a clip, answer about it."""

import os

__version__ = "0.1.0"

# etils reads gs:// addresses with TensorFlow wherever that is installed, which
# takes seconds to import and is of no other use in training. Told so before the
# process opens its first file, it reads them with gcsfs.
os.environ.setdefault("EPATH_USE_TF", "false")

# What lies in a folder of a bucket is asked anew each time, as other processes
# write there, too. Read when fsspec is imported.
os.environ.setdefault("FSSPEC_GCS", '{"use_listings_cache": false}')
