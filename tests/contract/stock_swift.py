"""The program of a part without what makes its databases durable: Swift as it comes. For the control of a test."""

from holdfast.services.s3.inside import durable, program

if __name__ == "__main__":
    durable.install = lambda: None
    program.main()
