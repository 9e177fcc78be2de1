"""What runs inside Swift's processes: the program that starts them, and what Holdfast adds to Swift's pipelines.

Nothing else of Holdfast may import this: Swift and its green threads belong in processes of their own.
"""

import os

# Before eventlet is imported: its resolver is a second copy of dnspython, takes long to load, and leaves the first one
# mixed with it in this process. Every address here is a number.
os.environ["EVENTLET_NO_GREENDNS"] = "yes"
