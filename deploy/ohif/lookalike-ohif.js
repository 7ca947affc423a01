// Panel "Similar cases" for OHIF 3.13: one UMD module without a build step and without dependencies.
//
// The viewer draws with React, which a module that is loaded at run time cannot import. So the panel is one plain
// element whose `ref` is a callback, and everything in it is ordinary DOM. Text enters as text nodes only.
(function (root, factory) {
  if (typeof module === "object" && module.exports) module.exports = factory();
  else root.LookalikeOhif = factory();
})(typeof globalThis === "undefined" ? this : globalThis, () => {
  const ID = "@lookalike/ohif-extension";
  const FIRST = 3; // cases: readers take in three to five
  const STEP = 7;
  const FOLLOW_MS = 400;
  const CREATOR = "0075";
  const ELEMENT = { rank: "1020", score: "1021", distance: "1022", length: "1023", frame: "1026", duplicates: "102B", chance: "102A" };
  const BANDS = [[0, "Same code"], [1 / 16, "Very much alike"], [1 / 8, "Alike"], [1 / 4, "Somewhat alike"], [3 / 8, "Little alike"]];
  const SEX_WORDS = { F: "female", M: "male", O: "other" };
  const SEXES = { "": "any sex", F: "female", M: "male" };
  const OTHER = "OTHER PATIENT · not this examination";
  const STYLE = `
    .lookalike { height: 100%; overflow-y: auto; padding: 10px; color: #d9e0e6; font: 14px/1.4 system-ui, sans-serif; }
    .lookalike button, .lookalike select, .lookalike input { padding: 3px 8px; border: 1px solid #3a4753; border-radius: 6px; background: #1a2128; color: inherit; font: inherit; }
    .lookalike button:focus-visible, .lookalike select:focus-visible, .lookalike input:focus-visible { outline: 2px solid #56c7cf; }
    .lookalike .lookalike-row { display: flex; flex-wrap: wrap; gap: 6px; margin: 6px 0; align-items: center; }
    .lookalike input[type=number] { width: 7em; }
    .lookalike .status { color: #a7b4bf; min-height: 1.4em; }
    .lookalike .case { margin: 8px 0; border: 3px solid #f2b34c; border-radius: 6px; overflow: hidden; background: #12171c; }
    .lookalike .case img { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #000; }
    .lookalike .case p { margin: 0; padding: 2px 8px; }
    .lookalike .case .faint { color: #a7b4bf; font-size: 12px; }
    .lookalike-banner { padding: 3px 8px; background: repeating-linear-gradient(-45deg, #f2b34c 0 12px, #d99a2f 12px 24px); color: #000; font: 700 12px/1.5 system-ui, sans-serif; letter-spacing: .05em; text-align: center; }
    .lookalike-frame { position: absolute; inset: 0; z-index: 20; pointer-events: none; box-sizing: border-box; border: 5px solid #f2b34c; display: flex; flex-direction: column; justify-content: space-between; }
  `;

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null) element.setAttribute(name, value);
    }
    element.append(...children.flat().filter((child) => child !== null && child !== ""));
    return element;
  };

  /** First value of an attribute of DICOM JSON. */
  const value = (dataSet, tag) => dataSet[tag]?.Value?.[0];
  const own = (dataSet, name) => Number(value(dataSet, CREATOR + ELEMENT[name]));

  /** A result of the node as the panel shows it. */
  function caseOf(dataSet) {
    const length = own(dataSet, "length");
    return {
      study: value(dataSet, "0020000D"),
      series: value(dataSet, "0020000E"),
      instance: value(dataSet, "00080018"),
      frame: own(dataSet, "frame") || 1,
      rank: own(dataSet, "rank"),
      share: own(dataSet, "distance") / length,
      bits: `${own(dataSet, "distance")} of ${length} bits differ`,
      duplicates: own(dataSet, "duplicates") || 0,
      chance: own(dataSet, "chance"),
      kind: [value(dataSet, "00080060"), value(dataSet, "00180015")].filter(Boolean).join(" · "),
      title: value(dataSet, "0008103E") || value(dataSet, "00081030") || "no description",
      person: [SEX_WORDS[value(dataSet, "00100040")], ageOf(value(dataSet, "00101010")), String(value(dataSet, "00080020") ?? "").slice(0, 4)].filter(Boolean).join(" · "),
    };
  }

  /** Age in words (VR AS). */
  function ageOf(text) {
    const [, number, unit] = /^(\d{3})([DWMY])$/.exec(text ?? "") ?? [];
    return number ? `${Number(number)} ${{ D: "days", W: "weeks", M: "months", Y: "years" }[unit]}` : "";
  }

  const likeness = (share) => BANDS.find(([most]) => share <= most)?.[1] ?? "Hardly alike";

  /** What an image ID of the viewer names: SOP Instance UID and frame. */
  function imageOf(imageId) {
    const found = /\/instances\/([0-9.]+)(?:\/frames\/(\d+))?/.exec(imageId ?? "");
    return found ? { instance: found[1], frame: Number(found[2] ?? 1) } : null;
  }

  /** Query string of a question about an image. */
  function questionOf(image, { limit, region, modality, sex, from, to }) {
    const query = new URLSearchParams({ similarto: image.instance, limit, exclude: "SELF,PATIENT", distinct: "PATIENT" });
    query.set("includefield", "StudyDescription,BodyPartExamined,PatientAge,PatientSex,StudyDate");
    if (image.frame > 1) query.set("frame", image.frame);
    if (region) query.set("region", region.join(","));
    if (modality) query.set("Modality", modality);
    if (sex) query.set("PatientSex", sex);
    if (from || to) query.set("StudyDate", `${from ? `${from}0101` : ""}-${to ? `${to}1231` : ""}`);
    return query;
  }

  async function ask(base, path) {
    const response = await fetch(`${base}${path}`, { headers: { Accept: "application/dicom+json" } });
    if (response.status === 204) return [];
    const body = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(body.detail ?? `the node answers with status ${response.status}`);
    return body;
  }

  /** What the panel needs of the viewer. */
  class Viewer {
    constructor({ servicesManager, extensionManager }) {
      this.services = servicesManager.services;
      this.extensionManager = extensionManager;
    }

    get viewportId() {
      return this.services.viewportGridService.getActiveViewportId();
    }

    displaySet(viewportId) {
      const [uid] = this.services.viewportGridService.getDisplaySetsUIDsForViewport(viewportId) ?? [];
      return uid ? this.services.displaySetService.getDisplaySetByUID(uid) : null;
    }

    /** Image that the active viewport shows. */
    current() {
      const viewport = this.services.cornerstoneViewportService?.getCornerstoneViewport(this.viewportId);
      return imageOf(viewport?.getCurrentImageId?.());
    }

    /** The last rectangle that was drawn on the current image, in its pixels, 1-based. */
    rectangle() {
      const viewport = this.services.cornerstoneViewportService?.getCornerstoneViewport(this.viewportId);
      const image = this.current();
      const drawn = this.services.measurementService.getMeasurements().filter((each) => each.toolName === "RectangleROI" && each.SOPInstanceUID === image?.instance);
      const data = viewport?.getImageData?.()?.imageData;
      if (!drawn.length || !data) return null;
      const corners = drawn.at(-1).points.map((point) => data.worldToIndex(point));
      const side = (axis, pick, last) => Math.min(Math.max(Math.round(pick(...corners.map((corner) => corner[axis]))) + 1, 1), last);
      const [columns, rows] = data.getDimensions();
      return [side(0, Math.min, columns), side(1, Math.min, rows), side(0, Math.max, columns), side(1, Math.max, rows)];
    }

    /** Load a study of the archive; its display sets. */
    async load(study) {
      const [dataSource] = this.extensionManager.getActiveDataSource();
      const { displaySetService } = this.services;
      const here = () => displaySetService.getActiveDisplaySets().filter((each) => each.StudyInstanceUID === study);
      if (!here().length) await dataSource.retrieve.series.metadata({ StudyInstanceUID: study });
      return here();
    }

    /** Show a case at the right of the image that was asked about, in a viewport of its own. */
    async open({ study, series, instance }, own) {
      const sets = await this.load(study);
      const shown = sets.find((each) => each.SeriesInstanceUID === series) ?? sets[0];
      if (!shown) throw new Error("the archive of this viewer does not have this case");
      const index = Math.max(0, (shown.images ?? shown.instances ?? []).findIndex((each) => each.SOPInstanceUID === instance));
      const pane = (displaySet, viewportId, imageIndex) => ({
        displaySetInstanceUIDs: [displaySet.displaySetInstanceUID],
        displaySetOptions: [{}],
        viewportOptions: { viewportId, viewportType: "stack", toolGroupId: "default", initialImageOptions: { index: imageIndex } },
      });
      const panes = [pane(own.displaySet, "lookalike-own", own.index), pane(shown, "lookalike-other", index)];
      await this.services.viewportGridService.setLayout({ numRows: 1, numCols: 2, layoutOptions: [], activeViewportId: "lookalike-own", findOrCreateViewport: (position) => panes[position] });
    }
  }

  /** Lays a frame over every viewport that shows another patient than the study that was opened first. */
  class Banners {
    constructor(viewer) {
      this.viewer = viewer;
      const { viewportGridService } = viewer.services;
      for (const event of ["GRID_STATE_CHANGED", "LAYOUT_CHANGED", "VIEWPORTS_READY"]) viewportGridService.subscribe(viewportGridService.EVENTS[event], () => setTimeout(() => this.draw(), 50));
      new MutationObserver(() => this.draw()).observe(document.body, { childList: true, subtree: true });
    }

    get opened() {
      return (new URLSearchParams(location.search).get("StudyInstanceUIDs") ?? "").split(",").filter(Boolean);
    }

    draw() {
      const panes = document.querySelectorAll('[data-cy="viewport-pane"]');
      const viewports = [...this.viewer.services.viewportGridService.getState().viewports.keys()];
      panes.forEach((pane, index) => {
        const displaySet = this.viewer.displaySet(viewports[index]);
        const isOther = Boolean(displaySet) && !this.opened.includes(displaySet.StudyInstanceUID) && !this.isOwn(displaySet);
        const frame = pane.parentElement.querySelector(":scope > .lookalike-frame");
        if (isOther && !frame) pane.parentElement.append(make("div", { class: "lookalike-frame", role: "note" }, make("div", { class: "lookalike-banner" }, OTHER), make("div", { class: "lookalike-banner" }, OTHER)));
        if (!isOther && frame) frame.remove();
      });
    }

    /** A prior study of the patient whose study was opened. */
    isOwn(displaySet) {
      const patient = (each) => each?.instances?.[0]?.PatientID ?? each?.images?.[0]?.PatientID;
      const own = this.viewer.services.displaySetService.getActiveDisplaySets().find((each) => this.opened.includes(each.StudyInstanceUID));
      return Boolean(patient(own)) && patient(own) === patient(displaySet);
    }
  }

  /** The panel: asks about the current image, and shows few cases at first. */
  class Panel {
    constructor(element, viewer, base) {
      Object.assign(this, { viewer, base, limit: FIRST, region: null, asked: null, number: 0 });
      this.status = make("p", { class: "status", role: "status" });
      this.cases = make("div", { class: "cases" });
      const select = (name, options) => make("select", { name, "aria-label": name, onchange: () => this.find() }, Object.entries(options).map(([key, text]) => make("option", { value: key }, text)));
      const year = (name, text) => make("input", { type: "number", name, min: "1900", max: "2100", placeholder: text, "aria-label": text, onchange: () => this.find() });
      this.filters = make("form", { class: "lookalike-row", onsubmit: (event) => event.preventDefault() }, select("modality", { "": "any modality", CR: "CR", CT: "CT", DX: "DX", MR: "MR" }), select("sex", SEXES), year("from", "from year"), year("to", "to year"));
      this.undo = make("button", { type: "button", class: "undo", hidden: "", onclick: () => this.whole() }, "Whole image");
      element.replaceChildren(
        make("div", { class: "lookalike" },
          make("div", { class: "lookalike-row" },
            make("button", { type: "button", class: "find", title: "Shift+L", onclick: () => this.find({ fresh: true }) }, "Similar to this image"),
            make("button", { type: "button", class: "region", onclick: () => this.findRegion() }, "To the drawn rectangle"),
            this.undo),
          this.filters,
          this.status,
          this.cases),
      );
      this.follow();
    }

    /** Say when the answer is not about the image that is shown now. */
    follow() {
      const timer = setInterval(() => {
        if (!this.status.isConnected) return clearInterval(timer);
        const now = this.viewer.current();
        const isOther = this.viewer.viewportId === "lookalike-other";
        if (this.asked && now && !isOther && now.instance !== this.asked.instance) {
          this.asked = null;
          this.say("These are similar to an image that is no longer shown.");
        }
      }, FOLLOW_MS);
    }

    say(text) {
      this.status.textContent = text;
    }

    whole() {
      this.region = null;
      return this.find({ fresh: true });
    }

    findRegion() {
      const region = this.viewer.rectangle();
      if (!region) return this.say("Draw a rectangle on this image first, by the Rectangle tool.");
      return this.find({ fresh: true, region });
    }

    async find({ fresh = false, region = fresh ? null : this.region, limit = FIRST } = {}) {
      const image = fresh || !this.image ? this.viewer.current() : this.image;
      if (!image) return this.say("Select a viewport that shows an image of the archive.");
      const number = ++this.number;
      if (fresh || !this.own) this.own = { displaySet: this.viewer.displaySet(this.viewer.viewportId), index: this.viewer.services.cornerstoneViewportService.getCornerstoneViewport(this.viewer.viewportId)?.getCurrentImageIdIndex?.() ?? 0 };
      Object.assign(this, { image, asked: image, region, limit });
      this.undo.hidden = !region;
      this.say("Looking for similar cases …");
      try {
        const found = (await ask(this.base, `/instances?${questionOf(image, { limit, region, ...Object.fromEntries(new FormData(this.filters)) })}`)).map(caseOf);
        if (number === this.number) this.show(found, region);
      } catch (error) {
        if (number === this.number) this.say(`No answer: ${error.message}.`);
      }
    }

    show(found, region) {
      const near = found.filter(({ chance }) => !(chance >= 1));
      this.say(found.length === 0 ? "Nothing to compare with: widen the filters." : near.length ? `${found.length} nearest, one of each patient${region ? ", to the rectangle" : ""}.` : "Nothing close: images of other patients lie as near by chance.");
      const more = found.length === this.limit ? make("button", { type: "button", class: "more", onclick: () => this.find({ limit: this.limit + STEP }) }, "More") : null;
      this.cases.replaceChildren(...found.map((each) => this.card(each)), ...(more ? [more] : []));
    }

    card(each) {
      const { study, series, instance, frame } = each;
      const words = [each.chance >= 1 ? "No closer than chance" : likeness(each.share), each.duplicates ? `and ${each.duplicates} near-duplicates` : ""].filter(Boolean).join(", ");
      return make("article", { class: "case", "aria-label": `${each.rank}. Other patient. ${words}` },
        make("div", { class: "lookalike-banner" }, `${each.rank} · ${OTHER}`),
        make("img", { src: `${this.base}/studies/${study}/series/${series}/instances/${instance}/frames/${frame}/thumbnail`, alt: "", loading: "lazy" }),
        make("p", { title: each.bits }, words),
        make("p", {}, each.kind, make("br"), each.title),
        make("p", { class: "faint" }, each.person),
        make("p", { class: "lookalike-row" }, make("button", { type: "button", class: "open", onclick: () => this.open(each) }, "Open beside this image")));
    }

    async open(each) {
      this.say("Opening …");
      try {
        await this.viewer.open(each, this.own);
        this.say("Left: this examination. Right, framed: another patient.");
      } catch (error) {
        this.say(`Cannot open it: ${error.message}.`);
      }
    }
  }

  let panel = null;

  /** Element of React 18 without React: see the head of this file. */
  const element = (type, props) => ({ $$typeof: Symbol.for("react.element"), type, key: null, ref: props.ref ?? null, props: {}, _owner: null });

  const extension = {
    id: ID,
    preRegistration({ servicesManager, extensionManager, configuration = {} }) {
      extension.base = (configuration.dicomWebRoot ?? "/lookalike/dicom-web").replace(/\/$/, "");
      extension.viewer = new Viewer({ servicesManager, extensionManager });
      if (!document.getElementById("lookalike-style")) document.head.append(make("style", { id: "lookalike-style" }, STYLE));
    },
    onModeEnter() {
      extension.banners ??= new Banners(extension.viewer);
    },
    getPanelModule() {
      const mount = (host) => {
        if (host && host !== extension.host) panel = new Panel((extension.host = host), extension.viewer, extension.base);
      };
      return [{ name: "similar", iconName: "tab-studies", iconLabel: "Similar", label: "Similar cases", component: () => element("div", { ref: mount }) }];
    },
    getCommandsModule() {
      const definitions = {
        findSimilarImage: { commandFn: () => panel?.find({ fresh: true }) },
        findSimilarRegion: { commandFn: () => panel?.findRegion() },
        openSimilarCase: { commandFn: (found) => panel?.open(found) },
      };
      return { definitions, defaultContext: "VIEWER" };
    },
    getCustomizationModule() {
      const bindings = [{ commandName: "findSimilarImage", label: "Similar cases of this image", keys: ["shift+l"], isEditable: true }];
      return [{ name: "global", value: { "ohif.hotkeyBindings": { $push: bindings } } }];
    },
  };
  extension.default = extension; // for hosts that read the default export
  extension.testing = { caseOf, imageOf, likeness, questionOf };
  return extension;
});
