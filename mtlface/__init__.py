"""mtlface: does one network with several heads beat several networks with one, on your faces?"""

__version__ = "0.1.0"
