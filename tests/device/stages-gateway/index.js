require("./lib/controller");
