"""Are our metrics those of other libraries, to the last digits?"""
