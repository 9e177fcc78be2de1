"""What runs inside Swift's processes: the program that starts them, and what Holdfast adds to Swift's pipelines.

Nothing else of Holdfast may import this: Swift and its green threads belong in processes of their own.
"""
