import not_there


def f():
    return not_there
