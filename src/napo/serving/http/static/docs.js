// The paths of this server, by Swagger UI. Nothing is asked of any other host: no validator, no fonts.
"use strict";

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#paths",
  deepLinking: true,
  validatorUrl: null,
  // where the page for people was told a token in this tab, requests made here carry it too
  requestInterceptor: (request) => {
    const token = sessionStorage.getItem("napo.token");
    if (token) request.headers.Authorization = `Bearer ${token}`;
    return request;
  },
});
