"""The file says what is served and with which environment; the command line says nothing."""

wsgi_app = "shop.wsgi:application"
raw_env = ["SHOP_SETTINGS=shop.settings", "GREETING=one=two"]
workers = 2
proc_name = "shop"
default_proc_name = "shop"
