// Configuration of OHIF 3.13 with the panel "Similar cases". It replaces app-config.js of @ohif/app; no rebuild is needed.
// The archive's DICOMweb is at /dicom-web, the node at /lookalike: see nginx.conf beside this file.
window.config = async () => {
  await new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: "/lookalike-ohif.js", onload: resolve, onerror: reject });
    document.head.append(script);
  });
  const { LookalikeOhif } = window;
  return {
    routerBasename: null,
    extensions: [[LookalikeOhif, { dicomWebRoot: "/lookalike/dicom-web" }]],
    modes: [],
    customizationService: { mode: { viewer: { rightPanels: { $push: [`${LookalikeOhif.id}.panelModule.similar`] } } } },
    showStudyList: true,
    maxNumberOfWebWorkers: 3,
    showWarningMessageForCrossOrigin: false,
    showCPUFallbackMessage: false,
    strictZSpacingForVolumeViewport: true,
    defaultDataSourceName: "archive",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "archive",
        configuration: {
          friendlyName: "Archive",
          name: "archive",
          wadoUriRoot: "/dicom-web",
          qidoRoot: "/dicom-web",
          wadoRoot: "/dicom-web",
          imageRendering: "wadors",
          thumbnailRendering: "wadors",
          enableStudyLazyLoad: true,
          qidoSupportsIncludeField: false,
          supportsFuzzyMatching: false,
          supportsWildcard: true,
          omitQuotationForMultipartRequest: true,
        },
      },
    ],
  };
};
